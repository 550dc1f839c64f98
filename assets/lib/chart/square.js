/* A square chart whose axes go from 0 to 1: curves, bubbles, a diagonal, a place that is marked. */
import { h, s } from "../view.js";

const [SIZE, LEFT, BOTTOM, TOP, RIGHT] = [220, 34, 30, 8, 8];
const px = (x) => LEFT + x * (SIZE - LEFT - RIGHT);
const py = (y) => TOP + (1 - y) * (SIZE - TOP - BOTTOM);

const tickAt = (tick) => [
  s("line", { class: "axis", x1: LEFT, x2: SIZE - RIGHT, y1: py(tick), y2: py(tick) }),
  s("text", { class: "ticktext", x: LEFT - 5, y: py(tick) + 4, "text-anchor": "end" }, tick),
  s(
    "text",
    {
      class: "ticktext",
      x: px(tick),
      y: SIZE - BOTTOM + 13,
      "text-anchor": tick === 1 ? "end" : tick ? "middle" : "start",
    },
    tick,
  ),
];

const curve = (line) =>
  s("path", {
    class: "curve",
    style: `stroke:${line.color}`,
    "stroke-dasharray": line.dash,
    d: line.x.map((x, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(line.y[i]).toFixed(1)}`).join(""),
  });

const bubble = ({ x, y, r = 4, color, text = "" }) =>
  s(
    "circle",
    { cx: px(x), cy: py(y), r, class: "bubble", style: `fill:${color};stroke:${color}` },
    s("title", {}, text),
  );

/**
 * @param {object} options
 * @param {{x: number[], y: number[], color: string, dash?: string}[]} [options.lines]
 * @param {{x: number, y: number, r?: number, color: string, text?: string}[]} [options.points]
 * @param {{x: number, y: number} | null} [options.mark] the place that is looked at
 * @param {string} options.xName @param {string} options.yName @param {string} options.label
 * @param {boolean} [options.diagonal]
 */
export const square = ({ lines = [], points = [], mark = null, xName, yName, label, diagonal }) =>
  h(
    "svg",
    { class: "square", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": label },
    [0, 0.5, 1].map(tickAt),
    s("text", { class: "ticktext", x: px(0.5), y: SIZE - 3, "text-anchor": "middle" }, xName),
    s(
      "text",
      { class: "ticktext", x: 9, y: py(0.5), "text-anchor": "middle", transform: `rotate(-90 9 ${py(0.5)})` },
      yName,
    ),
    diagonal ? s("line", { class: "diagonal", x1: px(0), y1: py(0), x2: px(1), y2: py(1) }) : null,
    lines.map(curve),
    points.map(bubble),
    mark ? s("circle", { r: 5, class: "here", cx: px(mark.x), cy: py(mark.y) }) : null,
  );
