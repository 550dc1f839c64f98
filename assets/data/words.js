/* Which words tell classes apart, and how small models do with few of them. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { ntd, table, td, wide } from "../lib/table.js";

const head = (keys) => keys.map((key) => h("th", { scope: "col" }, t(key)));

export const wordsTool = (page) => {
  let state = /** @type {any} */ ({});
  const look = async () => {
    state = { busy: true };
    page.draw();
    const id = page.id;
    const found = await page.ask("telling_words");
    if (page.id !== id) return;
    state = found.error ? { error: found.error } : { found };
    page.draw();
  };
  const term = (each) =>
    h(
      "tr",
      { key: each.term },
      td(each.term),
      td(each.label),
      ntd(L.int(each.records)),
      ntd(L.num(each.chi2, 1)),
      ntd(L.num(each.mutual_information, 4)),
    );
  const model = (each) =>
    h(
      "tr",
      { key: `${each.features} ${each.k}` },
      td(t(`words_${each.features}`)),
      ntd(L.int(each.k)),
      ntd(L.num(each.accuracy, 3)),
      ntd(L.num(each.f1, 3)),
    );
  const tables = ({ terms, models, trained, held_out: held }) =>
    h(
      "div",
      { class: "map-cols words" },
      wide(table({}, head(["words_term", "words_class", "words_records", "words_chi", "words_mi"]), terms.map(term))),
      h(
        "div",
        {},
        table({}, head(["words_features", "words_k", "words_accuracy", "words_f1"]), models.map(model)),
        h("p", { class: "soft small" }, t("words_split", { trained: L.int(trained), held: L.int(held) })),
      ),
    );
  const draw = () => [
    h("p", { class: "soft small" }, t("words_about")),
    L.notice(state.error),
    state.found
      ? tables(state.found)
      : L.button(t(state.busy ? "labels_busy" : "words_look"), look, "strong", {
          id: "words-look",
          disabled: state.busy,
        }),
  ];
  return { draw, reset: () => (state = {}) };
};
