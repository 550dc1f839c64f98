/* What an evaluation of decoding strategies found: score against cost as a plot and a table, and record by record.
   Draws what it is given; `hooks` {draw(), differ(on), unfold(record), table()} do the rest. */
import { scatter } from "../lib/chart/scatter.js";
import * as L from "../lib/panel.js";
import { h, s, t } from "../lib/panel.js";
import { SHAPES } from "../lib/strategies.js";
import { differing, whisker } from "./plots.js";
import { searchResult } from "./search.js";

const COSTS = ["forwards", "tokens", "seconds"];
const FEW = 20;
const view = { cost: "forwards" };

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

/** The plot and the table. @param {any} result @param {{draw: () => void}} hooks */
export const strategies = (result, hooks) => {
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
            hooks.draw();
          },
        ),
      ),
    ),
    drawn.length
      ? plot({
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
            text: `${title(result, row)}: ${points(row.score)} % (${interval(row)}), ${cost(row, key)}`,
          })),
          xName: t(`eval_cost_${key}_long`),
          label: t("eval_strategies"),
        })
      : h("p", { class: "soft" }, t("eval_nothing_checked")),
    searchResult(result),
    h("div", { class: "scroll", tabindex: 0 }, figures(result, key)),
    calibrated(result),
    h("p", { class: "cap block" }, t("eval_strategies_about", { checker: t(`eval_checker_${result.checker}`) })),
  );
};

const plot = (options) => h("div", { class: "scroll", tabindex: 0 }, scatter(options));

const figures = (result, key) =>
  h(
    "table",
    { class: "figures" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {}, t("eval_col_strategy")),
        ["eval_right", "eval_interval", "eval_against_first", ...COSTS.map((each) => `eval_cost_${each}`)].map((each) =>
          h("th", { class: "n" }, t(each)),
        ),
        h("th", { class: "n" }, "pass@k"),
      ),
    ),
    h(
      "tbody",
      {},
      result.table.map((row) => {
        const change = row.difference;
        const sure = change && (change.low > 0 || change.high < 0);
        return h(
          "tr",
          { class: row.dominated[key] ? "dominated" : "", "data-strategy": row.strategy },
          h("td", {}, h("span", { class: "lanename" }, shape(row.strategy), " ", title(result, row))),
          h("td", { class: "n" }, row.score === null ? "–" : `${points(row.score)} %`),
          h("td", { class: "n soft" }, row.score === null ? "–" : interval(row)),
          h(
            "td",
            { class: "n" },
            change
              ? [
                  h("span", { class: sure ? "ahead" : "" }, `${change.value > 0 ? "+" : ""}${points(change.value)}`),
                  " ",
                  whisker(change, sure),
                ]
              : "–",
          ),
          COSTS.map((each) => h("td", { class: "n" }, cost(row, each))),
          h(
            "td",
            { class: "n soft" },
            ends(Object.entries(row.pass_at))
              .map(([k, share]) => `@${k} ${points(share)}`)
              .join(" · ") || "–",
          ),
        );
      }),
    ),
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
        rows.map((row) =>
          h(
            "p",
            { "data-strategy": row.strategy },
            h("span", { class: "lanename" }, shape(row.strategy), " ", title(result, row)),
            ": ",
            t("eval_calibration_error", { points: points(row.calibration.error) }),
            " ",
            h(
              "span",
              { class: "soft n" },
              row.calibration.bins
                .map(([agreed, right, n]) =>
                  t("eval_calibration_bin", { agreed: L.percent(agreed), right: L.percent(right), n: L.int(n) }),
                )
                .join(" · "),
            ),
          ),
        ),
      )
    : null;
};

/* The first and the last of a list. */
const ends = (list) => (list.length > 2 ? [list[0], list[list.length - 1]] : list);

const mark = (correct) =>
  correct === null
    ? "–"
    : correct
      ? h("span", { class: "yes" }, "✓", h("span", { class: "unseen" }, t("eval_yes")))
      : h("span", { class: "no" }, "✗", h("span", { class: "unseen" }, t("eval_no")));

/** The records: who was right where. @param {any} result @param {any} state of the panel @param {any} hooks */
export const strategyRecords = (result, state, hooks) => {
  const rows = state.all ? state.records : state.records.slice(0, FEW);
  const toggle = h(
    "label",
    { class: "chip" },
    h("input", {
      type: "checkbox",
      checked: state.differ,
      "data-key": "differ",
      onchange: (event) => hooks.differ(event.target.checked),
    }),
    h("span", {}, t("eval_only_disagree")),
  );
  return h(
    "section",
    { class: "box records" },
    h("div", { class: "boxline" }, h("h2", {}, t("eval_records")), h("span", { class: "acts" }, toggle)),
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { class: "n" }, t("eval_col_row")),
            h("th", {}, t("eval_col_prompt")),
            result.table.map((row) =>
              h(
                "th",
                { class: "n", "data-strategy": row.strategy, title: title(result, row) },
                shape(row.strategy),
                h("span", { class: "unseen" }, title(result, row)),
              ),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((record) => [
            h(
              "tr",
              { class: state.open?.index === record.index ? "on" : "" },
              h("td", { class: "n" }, L.int(record.row)),
              h(
                "td",
                {},
                h(
                  "button",
                  {
                    type: "button",
                    class: "link",
                    "data-key": `record-${record.index}`,
                    "aria-expanded": String(state.open?.index === record.index),
                    onclick: () => hooks.unfold(record),
                  },
                  L.clip(record.prompt, 90) || "–",
                ),
              ),
              record.cells.map((cell) => h("td", { class: "n" }, mark(cell.correct))),
            ),
            state.open?.index === record.index ? whole(result, state.open) : null,
          ]),
        ),
      ),
    ),
    state.records.length > rows.length
      ? L.button(t("eval_show_all", { n: L.int(state.records.length) }), hooks.all, "quiet", { "data-key": "all" })
      : null,
  );
};

/* One record with every answer, and the way to the arena. */
const whole = (result, record) =>
  h(
    "tr",
    { class: "unfolded" },
    h(
      "td",
      { colspan: 2 + result.table.length },
      h("p", { class: "prompt" }, record.prompt),
      h(
        "div",
        { class: "sides" },
        record.reference ? h("div", {}, h("h3", {}, t("eval_reference")), h("p", {}, record.reference)) : null,
        result.table.map((row, at) => {
          const cell = record.cells[at];
          return h(
            "div",
            { "data-strategy": row.strategy },
            h("h3", {}, shape(row.strategy), " ", title(result, row), " ", mark(cell.correct)),
            h(
              "p",
              {},
              cell.text
                ? record.reference
                  ? differing(cell.text, record.reference)
                  : cell.text
                : t("eval_answer_none"),
            ),
            h(
              "p",
              { class: "cap" },
              [
                `${L.int(cell.tokens)} ${t("unit_tokens")}`,
                cell.n > 1 ? t("eval_right_of", { n: cell.right, of: cell.n }) : "",
                cell.ended ? "" : t("eval_did_not_end"),
              ]
                .filter(Boolean)
                .join(" · "),
            ),
          );
        }),
      ),
      L.button(t("eval_in_arena"), () => inArena(result, record), "quiet", { "data-key": "arena" }),
    ),
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
