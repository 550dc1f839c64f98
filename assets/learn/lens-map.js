/* The lens as a map: a row a layer, a column a position, stronger for what the layer is surer of; base beside tuned,
   and the sentence on where they decide. Used by the lesson and by the arena's token card. Knows no server. */
import { heat } from "../lib/chart/heat.js";
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";

const visible = (text) => (text ?? "").replace(/ /g, "␣").replace(/\n/g, "↵") || "∅";

/** The sentence on where the models decide. */
export const decidedIn = ({ models, names }) => {
  const part = (model) => ({ answer: visible(names[model.answer]), layer: model.decided, layers: model.layers });
  const [own, other] = models.map(part);
  if (!other) return t("arena_lens_decides", own);
  const values = { ...own, title: models[0].title };
  return t("arena_lens_decides_two", {
    ...values,
    title2: models[1].title,
    answer2: other.answer,
    layer2: other.layer,
  });
};

/** Cells of one model: layer upwards from below, the likeliest token's probability; `likeliest` beside it.
 *  @param {{rows: [number, number][][][]}} model */
export const cellsOf = ({ rows }) => [...rows].reverse().map((places) => places.map((tokens) => tokens[0][1]));

const mapOf = (model, names, positions) => {
  const layers = model.rows.length;
  const say = (y, x) => {
    const tokens = model.rows[layers - 1 - y][x].map(([id, p]) => `${visible(names[id])} ${L.percent(p, 1)}`);
    return t("lens_map_cell", { layer: layers - y, after: visible(positions[x].text), tokens: tokens.join(", ") });
  };
  const values = cellsOf(model);
  return h(
    "figure",
    { class: "lens-map", "data-key": model.id },
    h("figcaption", {}, model.title),
    heat({ values, color: "--greedy", low: 0, high: 1, say, label: t("lens_map_of", { title: model.title }), cell: 9 }),
    h(
      "div",
      { class: "lens-map-tokens", "aria-hidden": "true" },
      positions.map((each) => h("span", {}, visible(each.text))),
    ),
  );
};

export class LensMap extends Component {
  render({ found }) {
    const { models, names, positions } = found;
    return h(
      "div",
      {},
      h("p", { role: "status" }, decidedIn(found)),
      h(
        "div",
        { class: "lens-maps" },
        models.map((model) => mapOf(model, names, positions)),
      ),
      h("p", { class: "soft" }, t("lens_map_about")),
    );
  }
}
