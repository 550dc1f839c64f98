/* The losses that compare answers, in numbers: of a pair, of single answers, of answers that were drawn. */
import { clip, int, num, percent } from "../lib/format.js";
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";

export const short = (value) => num(value, 2);
const timesOf = (found) =>
  [
    ["learn_before", found.before],
    ["learn_after", found.after],
  ].filter(([, each]) => each);
const numbers = (values) => values.map((value, n) => h("td", { class: n ? "n" : "n split" }, value));

/**
 * A table of answers, before training and after it.
 * @param {any} found @param {{first: string, own?: string[], columns: string[], rows: any[], totals: any[]}} form
 * own: names of columns that are there once; columns: of those that both times have; rows: {name, title, own,
 * cells(time)}; totals: [name, value(time)].
 */
const table = (found, { first, own = [], columns, rows, totals }) => {
  const times = timesOf(found);
  const head = (name, n) => h("th", { class: n ? "n" : "n split" }, name);
  const row = ({ name, title, own: shown = [], cells }) =>
    h(
      "tr",
      {},
      h("td", { class: "piece", title }, name),
      numbers(shown),
      times.map(([, each]) => numbers(cells(each))),
    );
  const total = ([name, of]) =>
    h(
      "tr",
      { class: "total" },
      h("td", {}, name),
      own.length ? h("td", { class: "split", colspan: own.length }) : null,
      times.map(([, each]) => h("td", { class: "n split", colspan: columns.length }, of(each))),
    );
  const over = ([key]) =>
    h("th", { class: "over split", colspan: columns.length }, t(key, { run: clip(found.run_name || "", 30) }));
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h("tr", {}, h("td", {}), own.length ? h("td", { class: "split", colspan: own.length }) : null, times.map(over)),
      h(
        "tr",
        {},
        h("th", {}, t(first)),
        own.map(head),
        times.map(() => columns.map(head)),
      ),
    ),
    h("tbody", {}, rows.map(row), totals.map(total)),
  );
};
const SIDES = ["chosen", "rejected"];
const sides = (found, cells) =>
  SIDES.map((key) => ({
    name: `${t(`data_role_${key}`)}: ${clip(found.before.answers[key], 24)}`,
    title: found.before.answers[key],
    cells: (each) => cells(each, key),
  }));

export const pair = (found) => {
  const { refers, target } = found.before;
  const gain = (each, key) => each.policy[key] - each.reference[key];
  return table(found, {
    first: "learn_answer",
    columns: [
      t("learn_policy"),
      t(refers ? "learn_reference" : "learn_tokens"),
      t(refers ? "learn_gain" : "learn_per_token"),
    ],
    rows: sides(found, (each, key) => [
      short(each.policy[key]),
      refers ? short(each.reference[key]) : int(each.lengths[key]),
      short(refers ? gain(each, key) : each.policy[key] / each.lengths[key]),
    ]),
    totals: [
      [t(target !== null || !refers ? "learn_margin_mean" : "learn_margin"), (each) => short(each.margin)],
      target !== null && refers
        ? [t("learn_target", { beta: found.beta }), (each) => short(each.target)]
        : [t("learn_scaled", { beta: found.beta }), (each) => short(each.scaled)],
      [t("learn_loss"), (each) => num(each.loss, 3)],
    ],
  });
};

export const reward = (found) =>
  table(found, {
    first: "learn_answer",
    columns: ["r"],
    rows: sides(found, (each, key) => [num(each.rewards[key], 3)]),
    totals: [
      [t("learn_reward_margin"), (each) => num(each.margin, 3)],
      [t("learn_reward_chance"), (each) => percent(each.probability, 1)],
      [t("learn_loss"), (each) => num(each.loss, 3)],
    ],
  });

export const kto = (found) =>
  table(found, {
    first: "learn_answer",
    columns: [t("learn_policy"), t("learn_reference"), "g", t("learn_lead"), t("learn_loss")],
    rows: found.before.rows.map(({ desired }, n) => ({
      name: `${t(desired ? "learn_desired" : "learn_undesired")}: ${clip(found.before.answers[n], 24)}`,
      title: found.before.answers[n],
      cells: ({ rows }) => [
        short(rows[n].policy),
        short(rows[n].reference),
        short(rows[n].gain),
        num(rows[n].lead, 3),
        num(rows[n].loss, 3),
      ],
    })),
    totals: [
      [t("learn_strayed", { n: found.before.others }), (each) => short(each.strayed)],
      [t("learn_loss_mean"), (each) => num(each.loss, 3)],
    ],
  });

export const policy = (found) => {
  const { rows, answers, expected } = found.before;
  const compared = rows[0].advantage !== null; // of rejection an answer passes or not
  const flat = rows.every((each) => each.reward === rows[0].reward);
  return [
    table(found, {
      first: "learn_drawn",
      own: [t("learn_reward_column"), "A", t("learn_tokens")],
      columns: ["ρ", "KL", t("learn_loss")],
      rows: rows.map((each, n) => ({
        name: clip(answers[n] || "∅", 36),
        title: answers[n],
        own: [short(each.reward), each.advantage === null ? "–" : short(each.advantage), int(each.tokens)],
        cells: ({ rows: told }) => [
          short(told[n].ratio),
          num(told[n].kl, 3),
          each.counts ? num(told[n].loss, 3) : t("learn_left_out"),
        ],
      })),
      totals: [[t("learn_loss"), (each) => num(each.loss, 3)]],
    }),
    h("p", { class: "soft" }, t("learn_expected", { text: expected })),
    flat || compared ? h("p", { class: "soft" }, t(flat ? "learn_flat" : "learn_at_first")) : null,
  ];
};
