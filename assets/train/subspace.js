/* How much of the gradient a run's subspace holds, matrix by matrix. */
import * as L from "../lib/panel.js";
import { heat } from "../lib/chart/heat.js";
import { h, t } from "../lib/panel.js";
import { page, view } from "./state.js";

const split = (name) => {
  const m = name.match(/\.(\d+)\.(?:.*\.)?([^.]+?)(?:\.weight)?$/);
  return m ? [+m[1], m[2].replace(/_proj$/, "")] : [0, name];
};
const KINDS = ["q", "k", "v", "o", "gate", "up", "down"];
const place = (kind) => (KINDS.includes(kind) ? KINDS.indexOf(kind) : KINDS.length);
export const heatBox = (run) => {
  const data = run.refreshes;
  if (!data?.layers?.length) return null;
  const all = data.energy.flat().filter((v) => v !== null),
    low = Math.min(...all),
    high = Math.max(...all);
  const many = data.steps.length > 1,
    mode = many && view.heat === "time" ? "time" : "layer",
    span = Math.max(high - low, 0.02);
  // Refreshes are spread over the steps: what counts for a matrix at a time is its newest refresh until then.
  const filled = data.energy.map((row) => {
    let known = null;
    return row.map((value) => (known = value ?? known));
  });
  const names = data.layers.map(split),
    last = data.steps.length - 1,
    cell = (layer, step) => filled[layer]?.[step] ?? null;
  let values, say, rows;
  if (mode === "layer") {
    rows = [...new Set(names.map(([, kind]) => kind))].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
    const depth = Math.max(...names.map(([n]) => n)) + 1;
    const at = (kind, n) => names.findIndex(([m, k]) => m === n && k === kind);
    values = rows.map((kind) =>
      Array.from({ length: depth }, (_, n) => {
        const i = at(kind, n);
        return i < 0 ? null : cell(i, last);
      }),
    );
    say = (y, x) => `${rows[y]} ${x}: ${values[y][x] === null ? "–" : L.percent(values[y][x], 1)}`;
  } else {
    const order = names
      .map((_, i) => i)
      .sort((a, b) => names[a][0] - names[b][0] || place(names[a][1]) - place(names[b][1]));
    values = order.map((i) => data.steps.map((_, step) => cell(i, step)));
    const value = (y, x) => (values[y][x] === null ? "–" : L.percent(values[y][x], 1));
    say = (y, x) => `${data.layers[order[y]]} · ${t("plot_step")} ${L.int(data.steps[x])}: ${value(y, x)}`;
  }
  const rank = run.config?.rank;
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("heat_title")),
      many
        ? L.choice(
            t("heat_view"),
            [
              ["layer", t("heat_by_layer")],
              ["time", t("heat_by_time")],
            ],
            mode,
            (value) => {
              view.heat = value;
              page.draw();
            },
          )
        : null,
    ),
    heat({
      values,
      color: "--topp",
      low: high - span * 1.1,
      high,
      say,
      label: t("heat_title"),
      cell: mode === "layer" ? 16 : 2,
      rows,
      kind: mode,
    }),
    h(
      "div",
      { class: "cap" },
      h(
        "span",
        {},
        L.sentences(t(mode === "layer" ? "heat_layers" : "heat_times"), rank ? t("heat_about", { rank }) : ""),
      ),
      h(
        "span",
        { class: "n" },
        `${L.num(low * 100, high - low < 0.05 ? 1 : 0)} – ${L.percent(high, high - low < 0.05 ? 1 : 0)}`,
      ),
    ),
  );
};
