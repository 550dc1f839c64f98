/* The board of a vote: what may be concluded, strengths with their intervals, and what else the votes tell. Draws what
   llmdemo/arena/vote_board.py has computed; asks for nothing. */
import { ticks } from "../lib/chart/axis.js";
import { int, num, percent } from "../lib/format.js";
import { choice, h, help, s } from "../lib/view.js";
import { sentences, t } from "../lib/words.js";
import { mark, rowTitle } from "./names.js";

const W = 100;
const range = ({ share, low, high }) => `${percent(share)} (${int(100 * low)}–${int(100 * high)})`;

/** The sentence on what may be concluded. @param {any} board */
export const conclusion = (board) => {
  const { says, boards, voters } = board;
  const rows = Object.values(boards)[0];
  const names = (places) => places.map((at) => rowTitle(rows[at]));
  const values = { votes: says.votes, leaders: names(says.leaders), behind: names(says.behind) };
  const parts = [t(`votes_says_${says.code}`, values)];
  if (says.more) parts.push(t("votes_more", { n: says.more }));
  if (["open", "partly", "decided"].includes(says.code)) {
    if (voters === 1) parts.push(t("votes_one_voter"));
    else if (!board.by_voter) parts.push(t("votes_few_voters", { n: voters }));
  }
  return sentences(...parts);
};

/**
 * [low, high] of the axis of shares: all intervals and the middle, but never less than a fifth.
 * @param {any[]} rows
 * @returns {[number, number]}
 */
export const domain = (rows) => {
  const known = rows.filter((row) => row.share !== null);
  const low = Math.min(0.4, ...known.map((row) => row.share_low));
  const high = Math.max(0.6, ...known.map((row) => row.share_high));
  return [Math.max(0, low - 0.02), Math.min(1, high + 0.02)];
};

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

const whisker = (row, [low, high]) => {
  const at = (share) => (W * (share - low)) / (high - low);
  if (row.share === null) return h("span", { class: "soft" }, t("votes_row_none"));
  const equal = row.equal_length ? at(sigmoid(row.equal_length.strength)) : null;
  return s(
    "svg",
    {
      class: "strength",
      viewBox: `0 0 ${W} 20`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": t("votes_row_says", {
        share: percent(row.share),
        low: percent(row.share_low),
        high: percent(row.share_high),
      }),
      "data-strategy": row.strategy || "model",
    },
    s("line", { class: "middle", x1: at(0.5), x2: at(0.5), y1: 0, y2: 20 }),
    s("line", { class: "reach", x1: at(row.share_low), x2: at(row.share_high), y1: 10, y2: 10 }),
    equal === null ? null : s("line", { class: "equal", x1: equal, x2: equal, y1: 3, y2: 17 }),
    s("line", { class: "value", x1: at(row.share), x2: at(row.share), y1: 10, y2: 10 }),
  );
};

const axis = ([low, high]) =>
  h(
    "div",
    { class: "strength-axis", "aria-hidden": "true" },
    ticks(100 * low, 100 * high, 4).map((at) =>
      h("span", { style: `left:${((at / 100 - low) / (high - low)) * 100}%` }, percent(at / 100)),
    ),
  );

/* A run may have a long name: two lines of it are shown, the rest when it is pointed at. */
const nameOf = (row) => h("span", { class: "clamped", title: rowTitle(row) }, rowTitle(row));

const table = (rows) => {
  const scale = domain(rows);
  const order = [...rows].sort((a, b) => (b.strength ?? -Infinity) - (a.strength ?? -Infinity));
  return h(
    "div",
    { class: "strengths", role: "table", "aria-label": t("votes_board") },
    order.map((row) =>
      h(
        "div",
        { class: "strength-row", role: "row", "data-key": rowTitle(row) },
        h("span", { class: "strength-name", role: "rowheader" }, mark(row.strategy), nameOf(row)),
        h("span", { class: "strength-plot", role: "cell" }, whisker(row, scale)),
        h("span", { class: "n", role: "cell" }, row.share === null ? "–" : percent(row.share)),
        h("span", { class: "n soft tally", role: "cell" }, t("votes_tally", row)),
      ),
    ),
    h("div", { class: "strength-row axis" }, h("span", {}), axis(scale), h("span", {}), h("span", {})),
    h("p", { class: "cap" }, h("span", {}, t("votes_axis"), " ", help(t("votes_axis_help"), t("votes_board")))),
  );
};

const agreed = ({ share, alpha, low, high }) =>
  alpha === null
    ? percent(share)
    : t("votes_alpha", {
        share: percent(share),
        alpha: num(alpha, 2),
        range: low === null ? "–" : `${num(low, 2)} … ${num(high, 2)}`,
      });

/* What the votes tell beside strengths: {word, value, attention: whether it needs some}. */
const figures = (board) => {
  const { position, length, agreement, choices } = board;
  const count = (key) => choices[key] || 0;
  const biased = ({ low, high }) => low > 0.5 || high < 0.5;
  const rows = [
    position && {
      word: "votes_position",
      about: "votes_position_help",
      value: range(position),
      attention: biased(position),
    },
    length && { word: "votes_length", about: "votes_length_help", value: range(length), attention: biased(length) },
    agreement && { word: "votes_agreement", about: "votes_agreement_help", value: agreed(agreement), attention: false },
    {
      word: "votes_choices",
      about: "votes_choices_help",
      value: t("votes_choice_counts", {
        left: count("left"),
        right: count("right"),
        tie: count("tie"),
        bad: count("both_bad"),
      }),
      attention: false,
    },
  ];
  return rows.filter(Boolean);
};

const remarks = (board) => [
  ...board.one_sided.map((one) =>
    t(`votes_one_sided_${one.side}`, { voter: one.voter, n: one.count, of: one.of, times: int(1 / one.chance) }),
  ),
  ...(board.quick ? [t("votes_quick", { n: board.quick })] : []),
  ...(board.alike ? [t("votes_alike", { n: board.alike, all: board.items })] : []),
  ...board.errors.map((error) => t("votes_error", { error })),
];

/**
 * Everything below a vote's title.
 * @param {any} board as /vote_board gives it
 * @param {string} by which of its boards: strategy, model or both
 * @param {(by: string) => void} change
 */
export const drawBoard = (board, by, change) => {
  const kinds = Object.keys(board.boards);
  const shown = kinds.includes(by) ? by : kinds[0];
  const told = remarks(board);
  return [
    h("p", { class: "conclusion", role: "status" }, conclusion(board)),
    kinds.length > 1
      ? choice(
          t("votes_by"),
          kinds.map((kind) => [kind, t(`votes_by_${kind}`)]),
          shown,
          change,
        )
      : null,
    board.votes ? table(board.boards[shown]) : null,
    board.votes
      ? h(
          "dl",
          { class: "vote-figures" },
          figures(board).map(({ word, about, value, attention }) =>
            h(
              "div",
              { "data-key": word },
              h("dt", {}, t(word), help(t(about), t(word))),
              h("dd", { class: attention ? "warned" : "" }, value),
            ),
          ),
        )
      : null,
    told.length
      ? h(
          "ul",
          { class: "vote-remarks" },
          told.map((text) => h("li", { "data-key": text }, text)),
        )
      : null,
  ];
};
