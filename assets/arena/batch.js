/* What many prompts have shown so far: the trade-off as two plots, the numbers as a table, the texts below. */
import { ticksFromZero } from "../lib/chart/axis.js";
import { figure, h, inUnits, number, percent, shape, svg, t } from "./dom.js";
import { laneTitle } from "./lanes.js";

const WIDE = 460;
const HIGH = 250;
const PAD = { left: 46, right: 18, top: 14, bottom: 42 };

export class Batch {
  constructor() {
    this.rows = [];
    this.plots = h("div", { class: "batchplots" });
    this.table = h("div", { class: "scroll" });
    this.texts = h("ol", { class: "batchtexts" });
    this.element = h(
      "section",
      { class: "batch", hidden: true, "aria-label": t("mode_many") },
      this.plots,
      this.table,
      h("details", {}, h("summary", {}, t("batch_said")), this.texts),
    );
  }

  toJSON() {
    return { strategies: this.last.strategies, prompts: this.rows };
  }

  clear() {
    this.last = null;
    this.rows = [];
    this.texts.replaceChildren();
    this.plots.replaceChildren();
    this.table.replaceChildren();
  }

  /* A "batch" event of llmdemo/arena/batch.py. */
  add(event) {
    const { strategies, row } = event;
    this.last = event;
    this.rows.push(row);
    this.plots.replaceChildren(
      plot(strategies, "repetition", t("batch_plot_repetition"), (value) => inUnits(percent(value), "%"), 1),
      plot(strategies, "self_bleu", t("batch_plot_self_bleu"), (value) => number(value, 2), 1),
    );
    this.table.replaceChildren(table(strategies));
    this.texts.append(
      h(
        "li",
        {},
        h("b", { dir: "auto" }, row.prompt),
        Object.entries(row.texts).map(([name, text]) => {
          const strategy = (strategies.find((item) => item.name === name) || {}).strategy;
          return h("p", { "data-strategy": strategy, dir: "auto" }, shape(strategy), text);
        }),
      ),
    );
  }
}

/** Where the names stand beside their marks: right, left, above or below, the first that covers no mark, no other name
   and no number of the axis. @param {any[]} points each {x, y, text} */
export function labels(points) {
  const taken = points.map((point) => [point.x - 8, point.y - 8, point.x + 8, point.y + 8]);
  const clear = (box) =>
    box[0] > PAD.left &&
    box[1] > 0 &&
    box[2] < WIDE &&
    box[3] < HIGH - PAD.bottom + 10 &&
    taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
  return points.map(({ x, y, text }) => {
    const wide = Array.from(text).reduce((sum, letter) => sum + (letter > "\u2e80" ? 13 : 7), 0);
    const choices = [
      [12, 4, "start"],
      [-12, 4, "end"],
      [0, -13, "middle"],
      [0, 21, "middle"],
      [12, -24, "start"],
      [12, 32, "start"],
      [-12, -24, "end"],
      [0, -37, "middle"],
      [0, -52, "middle"],
    ].map(([dx, dy, anchor]) => {
      const left = x + dx - { start: 0, middle: wide / 2, end: wide }[anchor];
      return { at: { x: dx, y: dy, "text-anchor": anchor }, box: [left, y + dy - 10, left + wide, y + dy + 3] };
    });
    const best = choices.find((choice) => clear(choice.box)) || choices[0];
    taken.push(best.box);
    return best.at;
  });
}

function plot(strategies, key, title, format, least) {
  const known = strategies.filter((item) => item.perplexity !== null && item[key] !== null);
  const across = ticksFromZero(Math.max(2, ...known.map((item) => item.perplexity)));
  const up = ticksFromZero(Math.max(key === "self_bleu" ? 0.2 : 0.1, ...known.map((item) => item[key])) * 1.05).filter(
    (value) => value <= least + 1e-9,
  );
  const x = (value) => PAD.left + ((WIDE - PAD.left - PAD.right) * value) / across[across.length - 1];
  const y = (value) => HIGH - PAD.bottom - ((HIGH - PAD.top - PAD.bottom) * value) / up[up.length - 1];
  const places = labels(known.map((item) => ({ x: x(item.perplexity), y: y(item[key]), text: laneTitle(item) })));
  const text = (attributes, content) => svg("text", attributes, content);
  const chart = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDE} ${HIGH}`,
      role: "img",
      "aria-label": `${title} / ${t("fact_perplexity")}`,
      class: "scatter",
    },
    up.map((value) => [
      svg("path", { d: `M${PAD.left} ${y(value)}H${WIDE - PAD.right}`, class: "grid" }),
      text({ x: PAD.left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
    ]),
    across.map((value) => text({ x: x(value), y: HIGH - PAD.bottom + 20, "text-anchor": "middle" }, number(value, 1))),
    text({ x: WIDE - PAD.right, y: HIGH - 4, "text-anchor": "end" }, t("fact_perplexity") + " →"),
    known.map((item, at) =>
      svg(
        "g",
        { "data-strategy": item.strategy, transform: `translate(${x(item.perplexity)} ${y(item[key])})` },
        svg("g", { transform: "translate(-7 -7) scale(1.17)", class: "mark" }, shape(item.strategy).firstChild),
        text({ ...places[at], class: "name" }, laneTitle(item)),
      ),
    ),
  );
  return h("figure", {}, h("figcaption", {}, title), chart);
}

function table(strategies) {
  const columns = ["texts", "tokens", "perplexity", "repetition", "distinct_2", "diversity", "self_bleu"];
  const cell = {
    texts: number,
    tokens: number,
    diversity: (v) => figure(v, 2),
    perplexity: (v) => figure(v, 2),
    repetition: (v) => (v === null ? "–" : inUnits(percent(v), "%")),
    distinct_2: (v) => figure(v, 2),
    self_bleu: (v) => figure(v, 3),
  };
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", {}, t("lanes")),
        columns.map((key) => h("th", { class: "n", title: t("batch_" + key + "_help") }, t("batch_" + key))),
      ),
    ),
    h(
      "tbody",
      {},
      strategies.map((item) =>
        h(
          "tr",
          { "data-strategy": item.strategy },
          h("td", {}, shape(item.strategy), " ", laneTitle(item)),
          columns.map((key) => h("td", { class: "n" }, cell[key](item[key]))),
        ),
      ),
    ),
  );
}
