/* The evaluate form's fields for comparing decoding strategies: which, their values, and how an answer is checked. */
import * as L from "../lib/panel.js";
import { h, s, t } from "../lib/panel.js";
import { SHAPES } from "../lib/strategies.js";
import { searchConfig, searchFields, searchState } from "./search.js";

const OFFERED = [
  "greedy",
  "sample",
  "top_p",
  "min_p",
  "beam",
  "diverse_beam",
  "stochastic_beam",
  "best_of_n",
  "self_consistency",
  "mbr",
  "speculative",
];
const RARE = ["top_k", "typical_p", "epsilon", "eta", "top_n_sigma", "xtc", "mirostat", "contrastive", "dola"];
const SEVERAL = ["best_of_n", "self_consistency", "mbr"];
const CHECKERS = ["normalised", "exact", "number", "contains", "regex", "json", "json_schema", "expression", "judge"];

/** What the fields hold at first. */
export const strategyState = () => ({
  chosen: ["greedy", "sample", "beam", "best_of_n", "self_consistency"],
  temperature: 0.7,
  answers: 8,
  rare: false,
  checker: "normalised",
  pattern: "",
  text: "",
  schema: '{"type": "object"}',
  search: searchState(),
});

const number = (key, label, state, more) =>
  L.labelled(
    label,
    L.entry({
      type: "number",
      value: state[key],
      onchange: (raw) => {
        if (raw.trim() !== "") state[key] = Number(raw);
      },
      ...more,
    }),
  );

/** The fields. @param {any} state of strategyState @param {() => void} draw */
export const strategyFields = (state, draw) => {
  const detail = { regex: "pattern", contains: "text", json_schema: "schema" }[state.checker];
  const pick = (strategy) =>
    h(
      "label",
      { class: "chip lanename", "data-strategy": strategy },
      h("input", {
        type: "checkbox",
        checked: state.chosen.includes(strategy),
        onchange: (event) => {
          state.chosen = [...OFFERED, ...RARE].filter((each) =>
            each === strategy ? event.target.checked : state.chosen.includes(each),
          );
          draw();
        },
      }),
      s(
        "svg",
        { width: 12, height: 12, viewBox: "0 0 12 12", class: "shape", "aria-hidden": "true" },
        s("path", { d: SHAPES[strategy] }),
      ),
      h("span", {}, t(`arena_name_${strategy}`)),
    );
  return h(
    "div",
    { class: "strategyfields" },
    h("div", { class: "lanechips", role: "group", "aria-label": t("eval_strategies") }, OFFERED.map(pick)),
    h(
      "details",
      { class: "rare", open: state.rare, ontoggle: (event) => (state.rare = event.target.open) },
      h("summary", {}, t("eval_strategies_more")),
      h("div", { class: "lanechips", role: "group", "aria-label": t("eval_strategies_more") }, RARE.map(pick)),
    ),
    h(
      "div",
      { class: "fields" },
      number("temperature", t("arena_set_label_temperature"), state, { min: 0, max: 5, step: 0.05 }),
      SEVERAL.some((each) => state.chosen.includes(each))
        ? number("answers", t("arena_set_label_num_return_sequences"), state, { min: 1, max: 32 })
        : null,
      h(
        "label",
        { class: "pick wide" },
        h("span", {}, t("eval_checker")),
        L.menu({
          id: "evaluate-checker",
          options: CHECKERS.map((key) => [key, t(`eval_checker_${key}`, { grade: 4 })]),
          value: state.checker,
          onchange: (key) => {
            state.checker = key;
            draw();
          },
        }),
      ),
      detail
        ? L.labelled(
            t(`eval_checker_${detail}`),
            L.entry({ value: state[detail], maxlength: 1000, onchange: (value) => (state[detail] = value) }),
          )
        : null,
    ),
    searchFields(state.search, draw),
  );
};

/** What the app is asked for; a schema that is no JSON is sent as it was typed, for the app to refuse.
 * @param {any} state of strategyState */
export const strategyConfig = (state) => {
  const parsed = () => {
    try {
      return JSON.parse(state.schema);
    } catch {
      return state.schema;
    }
  };
  const more = {
    regex: { pattern: state.pattern },
    contains: state.text ? { text: state.text } : {},
    json_schema: { schema: parsed() },
  };
  return {
    lanes: state.chosen,
    ...searchConfig(state.search),
    settings: { temperature: state.temperature, num_return_sequences: state.answers },
    checker: { kind: state.checker, ...more[state.checker] },
  };
};
