/* What an evaluation of decoding strategies found: score against cost as a plot and a table, and record by record. */
import { scatter } from "../lib/chart/scatter.js";
import { square } from "../lib/chart/square.js";
import * as L from "../lib/panel.js";
import { h, s, t } from "../lib/panel.js";
import { SHAPES } from "../lib/strategies.js";
import { nth, ntd, table, td, th, wide } from "../lib/table.js";
import { said as ofJudge } from "./judged.js";
import { differing, whisker } from "./plots.js";
import { mark, onlyDiffering, opener, recordTable } from "./record-table.js";
import { searchResult } from "./search.js";
import { page, state } from "./state.js";

const COSTS = ["forwards", "tokens", "seconds"];
const view = { cost: "tokens" }; // forward passes do not tell several drawn answers from one

const shape = (strategy) =>
  s(
    "svg",
    { width: 12, height: 12, viewBox: "0 0 12 12", class: "shape", "aria-hidden": "true" },
    s("path", { d: SHAPES[strategy] || SHAPES.sample }),
  );
const named = (name) => (SHAPES[name] ? t(`arena_name_${name}`) : name);
const title = (result, row) =>
  result.models.length > 1 ? `${named(row.name)} · ${L.clip(result.models[row.model].title, 24)}` : named(row.name);
const points = (value) => L.num(value * 100, 1);
const interval = (row) => `${points(row.low)} … ${points(row.high)}`;
const cost = (row, each) => (row[each] === null ? "–" : L.num(row[each], each === "seconds" ? 2 : 0));

/** The plot and the table. @param {any} result */
export const strategies = (result) => {
  const costs = COSTS.filter((each) => result.table.some((row) => row[each] !== null));
  const key = costs.includes(view.cost) ? view.cost : costs[0];
  const drawn = result.table.filter((row) => row.score !== null && row[key] !== null);
  return h(
    "section",
    { class: "box strategies" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("eval_strategies")),
      h(
        "span",
        { class: "acts" },
        L.choice(
          t("eval_cost"),
          costs.map((each) => [each, t(`eval_cost_${each}`)]),
          key,
          (chosen) => {
            view.cost = chosen;
            page.draw();
          },
        ),
      ),
    ),
    drawn.length
      ? wide(
          scatter({
            points: drawn.map((row) => ({
              x: row[key],
              y: row.score,
              low: row.low,
              high: row.high,
              strategy: row.strategy,
              path: SHAPES[row.strategy] || SHAPES.sample,
              name: named(row.name),
              pale: row.dominated[key],
              open: row.model === 1,
              text: `${title(result, row)}: ${L.percent(row.score, 1)} (${interval(row)}), ${cost(row, key)}`,
            })),
            xName: t(`eval_cost_${key}_long`),
            label: t("eval_strategies"),
          }),
        )
      : h("p", { class: "soft" }, t(result.judge ? "eval_nothing_graded" : "eval_nothing_checked")),
    searchResult(result),
    wide(figures(result, key)),
    calibrated(result),
    h(
      "p",
      { class: "cap block" },
      t("eval_strategies_about", { checker: t(`eval_checker_${result.checker}`, { grade: result.judge?.grade }) }),
    ),
    result.judge
      ? [L.notice(result.judge.error), h("p", { class: "soft small" }, result.judge.criteria), ofJudge(result.judge)]
      : null,
  );
};

const figures = (result, key) =>
  table(
    { class: "figures" },
    [
      th(t("eval_col_strategy")),
      ["eval_right", "eval_interval", "eval_against_first", ...COSTS.map((each) => `eval_cost_${each}`)].map((each) =>
        nth(t(each)),
      ),
      nth("pass@k"),
    ],
    result.table.map((row) => {
      const change = row.difference;
      const sure = change && (change.low > 0 || change.high < 0);
      return h(
        "tr",
        { class: row.dominated[key] ? "dominated" : "", "data-strategy": row.strategy },
        td(h("span", { class: "lanename" }, shape(row.strategy), " ", title(result, row))),
        ntd(row.score === null ? "–" : L.percent(row.score, 1)),
        h("td", { class: "n soft" }, row.score === null ? "–" : interval(row)),
        ntd(
          change
            ? [
                h("span", { class: sure ? "ahead" : "" }, `${change.value > 0 ? "+" : ""}${points(change.value)}`),
                " ",
                whisker(change, sure),
              ]
            : "–",
        ),
        COSTS.map((each) => ntd(cost(row, each))),
        h(
          "td",
          { class: "n soft" },
          ends(Object.entries(row.pass_at))
            .map(([k, share]) => `@${k} ${points(share)}`)
            .join(" · ") || "–",
        ),
      );
    }),
  );

/* How sure a lane is that draws several answers, against how often it is right. */
const calibrated = (result) => {
  const rows = result.table.filter((row) => row.calibration);
  return rows.length
    ? h(
        "details",
        { class: "calibration" },
        h("summary", {}, t("eval_calibration")),
        h("p", { class: "soft" }, t("eval_calibration_about")),
        h(
          "div",
          { class: "squares" },
          rows.map((row) => reliability(result, row)),
        ),
      )
    : null;
};

/* One lane's: a bubble for each share of agreement, the larger the more records; on the diagonal it would be as right
   as it is sure. */
const reliability = (result, row) => {
  const { bins, error } = row.calibration;
  const most = Math.max(...bins.map((bin) => bin[2]));
  return h(
    "figure",
    { "data-strategy": row.strategy },
    h("figcaption", { class: "lanename" }, shape(row.strategy), " ", title(result, row)),
    square({
      points: bins.map(([agreed, right, n]) => ({
        x: agreed,
        y: right,
        r: 3 + 6 * Math.sqrt(n / most),
        color: "var(--accent)",
      })),
      diagonal: true,
      xName: t("eval_agreed_share"),
      yName: t("eval_right"),
      label: `${title(result, row)}: ${t("eval_calibration_error", { points: points(error) })}`,
    }),
    table(
      { class: "figures" },
      [nth(t("eval_agreed_share")), nth(t("eval_right")), nth(t("eval_records_short"))],
      bins.map(([agreed, right, n]) => h("tr", {}, ntd(L.percent(agreed)), ntd(L.percent(right)), ntd(L.int(n)))),
    ),
    h("p", { class: "cap block" }, t("eval_calibration_error", { points: points(error) })),
  );
};

/* The first and the last of a list. */
const ends = (list) => (list.length > 2 ? [list[0], list[list.length - 1]] : list);

/** The records: who was right where. @param {any} result */
export const strategyRecords = (result) =>
  recordTable({
    above: h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("eval_records")),
      h("span", { class: "acts" }, onlyDiffering(t("eval_only_disagree"))),
    ),
    head: [
      nth(t("eval_col_row")),
      th(t("eval_col_prompt")),
      result.table.map((row) =>
        h(
          "th",
          { class: "n", "data-strategy": row.strategy, title: title(result, row) },
          shape(row.strategy),
          h("span", { class: "unseen" }, title(result, row)),
        ),
      ),
    ],
    records: state.records,
    line: (record) => [ntd(L.int(record.row)), opener(record, 90), record.cells.map((cell) => ntd(mark(cell.correct)))],
    sides: (record) => [
      record.reference ? h("div", {}, h("h3", {}, t("eval_reference")), h("p", {}, record.reference)) : null,
      result.table.map((row, at) => said(record, record.cells[at], row, title(result, row))),
    ],
    below: (record) => L.button(t("eval_in_arena"), () => inArena(result, record), "quiet", { "data-key": "arena" }),
  });

/* What one strategy made of a record. */
const said = (record, cell, row, name) =>
  h(
    "div",
    { "data-strategy": row.strategy },
    h("h3", {}, shape(row.strategy), " ", name, " ", mark(cell.correct)),
    h(
      "p",
      {},
      cell.text ? (record.reference ? differing(cell.text, record.reference) : cell.text) : t("eval_answer_none"),
    ),
    h(
      "p",
      { class: "cap" },
      [
        `${L.int(cell.tokens)} ${t("unit_tokens")}`,
        cell.n > 1 ? t("eval_right_of", { n: cell.right, of: cell.n }) : "",
        cell.ended ? "" : t("eval_did_not_end"),
        cell.opinion?.result ? t("eval_graded", { grade: cell.opinion.result }) : "",
      ]
        .filter(Boolean)
        .join(" · "),
    ),
    cell.opinion?.feedback ? h("p", { class: "soft small" }, cell.opinion.feedback) : null,
  );

/* The arena with this prompt and the same strategies, seeds and number format, so that it gives the same answers. */
const inArena = (result, record) => {
  const [first, second] = result.models;
  L.wanted.model = {
    tuned: (second || first).id,
    base: second ? first.id : undefined,
    messages: record.messages,
    settings: { ...result.settings, seed: result.settings.seed + record.index, precision: "fp32" },
  };
  L.openPanel("arena");
  L.tell("try-model", L.wanted.model);
};
