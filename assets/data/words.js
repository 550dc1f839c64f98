/* Which words tell classes apart, and how small models do with few of them. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

const head = (keys) =>
  h(
    "thead",
    {},
    h(
      "tr",
      {},
      keys.map((key) => h("th", { scope: "col" }, t(key))),
    ),
  );

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
      h("td", {}, each.term),
      h("td", {}, each.label),
      h("td", { class: "n" }, L.int(each.records)),
      h("td", { class: "n" }, L.num(each.chi2, 1)),
      h("td", { class: "n" }, L.num(each.mutual_information, 4)),
    );
  const model = (each) =>
    h(
      "tr",
      { key: `${each.features} ${each.k}` },
      h("td", {}, t(`words_${each.features}`)),
      h("td", { class: "n" }, L.int(each.k)),
      h("td", { class: "n" }, L.num(each.accuracy, 3)),
      h("td", { class: "n" }, L.num(each.f1, 3)),
    );
  const tables = ({ terms, models, trained, held_out: held }) =>
    h(
      "div",
      { class: "map-cols words" },
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          {},
          head(["words_term", "words_class", "words_records", "words_chi", "words_mi"]),
          h("tbody", {}, terms.map(term)),
        ),
      ),
      h(
        "div",
        {},
        h(
          "table",
          {},
          head(["words_features", "words_k", "words_accuracy", "words_f1"]),
          h("tbody", {}, models.map(model)),
        ),
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
