/* A search over a strategy's values: its fields in the evaluate form, and what it found. Half of the records chooses,
   the other half tells. Knows no server. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { whisker } from "./plots.js";

/* strategy: the lines that its field holds at first. */
const OFFERED = {
  sample: "temperature: 0.3, 0.6, 0.9, 1.2",
  top_p: "temperature: 0.5, 0.8, 1\ntop_p: 0.7, 0.9, 0.98",
  top_k: "temperature: 0.5, 0.8, 1\ntop_k: 5, 20, 100",
  min_p: "temperature: 0.7, 1, 1.5\nmin_p: 0.02, 0.05, 0.2",
  beam: "num_beams: 2, 4, 8\nlength_penalty: 0, 1",
};

/** What the fields hold at first. */
export const searchState = () => ({ strategy: "", lines: "", open: false });

/** {setting: [values]} of lines "SETTING: VALUE, VALUE"; what is no number stays as it was typed, for the app to
 * refuse. @param {string} text */
export const valuesOf = (text) =>
  Object.fromEntries(
    text
      .split("\n")
      .filter((line) => line.trim())
      .map((line) => {
        const [key, ...rest] = line.split(/[:：]/);
        const values = rest
          .join(":")
          .split(/[,，、]/)
          .map((each) => each.trim())
          .filter(Boolean);
        return [key.trim(), values.map((each) => (Number.isFinite(Number(each)) ? Number(each) : each))];
      }),
  );

/** What the app is asked for, or nothing. @param {any} state of searchState */
export const searchConfig = (state) =>
  state.strategy ? { search: { strategy: state.strategy, values: valuesOf(state.lines) } } : {};

/** The fields, folded away. @param {any} state of searchState @param {() => void} draw */
export const searchFields = (state, draw) =>
  h(
    "details",
    { class: "searchfields", open: state.open, ontoggle: (event) => (state.open = event.target.open) },
    h("summary", {}, t("eval_search")),
    h("p", { class: "soft" }, t("eval_search_about")),
    h(
      "div",
      { class: "fields" },
      L.labelled(
        t("eval_search_strategy"),
        L.menu({
          id: "evaluate-search",
          options: [["", t("eval_search_none")], ...Object.keys(OFFERED).map((key) => [key, t(`arena_name_${key}`)])],
          value: state.strategy,
          onchange: (strategy) => {
            Object.assign(state, { strategy, lines: OFFERED[strategy] || "" });
            draw();
          },
        }),
      ),
      state.strategy
        ? h(
            "label",
            { class: "pick wide" },
            h("span", {}, t("eval_search_values")),
            h("textarea", {
              id: "evaluate-search-values",
              rows: 3,
              dir: "ltr",
              value: state.lines,
              onchange: (event) => (state.lines = event.target.value),
            }),
          )
        : null,
    ),
  );

const points = (value) => L.num(value * 100, 1);

/* One model's sentence: what was chosen, what it is worth on the other half, and against the first lane. */
const sentence = (result, found, model) => {
  const { chosen, chose, score, low, high, base, difference, agreement, n } = found;
  const many = result.models.length > 1;
  const sure = difference && (difference.low > 0 || difference.high < 0);
  return h(
    "p",
    { class: "found" },
    many ? [h("strong", {}, L.clip(result.models[model].title, 24)), " "] : null,
    t("eval_search_found", {
      strategy: t(`arena_name_${result.search.strategy}`),
      values: result.lanes[chosen].name,
      chose: points(chose),
      a: L.int(n[0]),
      score: points(score),
      low: points(low),
      high: points(high),
      b: L.int(n[1]),
      base: points(base),
    }),
    difference ? [" ", whisker(difference, sure)] : null,
    " ",
    h(
      "span",
      { class: "soft" },
      agreement === null ? t("eval_search_alike") : t("eval_search_agreement", { rho: L.num(agreement, 2) }),
    ),
  );
};

/** What the search found, or null. @param {any} result */
export const searchResult = (result) =>
  result.search?.told.length
    ? h(
        "div",
        { class: "searched" },
        h("h3", {}, t("eval_search_title")),
        result.search.told.map((found, model) => sentence(result, found, model)),
      )
    : null;
