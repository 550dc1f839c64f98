/* Points with an interval upwards and downwards, each with a shape and a name, over one cost: what is worth what. */
import { num, percent } from "../format.js";
import { h, s } from "../view.js";
import { ticks, ticksFromZero } from "./axis.js";

/** About what a name takes, in the chart's units. */
const [NAME_WIDTH, NAME_HEIGHT] = [110, 13];
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 300, 44, 120, 12, 34];

/**
 * @param {object} options
 * @param {{x: number, y: number, low: number, high: number, strategy: string, path: string, name: string,
 *   pale: boolean, open?: boolean, text: string}[]} options.points y, low and high from 0 to 1; `open`: an outline
 * @param {string} options.xName @param {string} options.label
 */
export const scatter = ({ points, xName, label }) => {
  const places = ticksFromZero(Math.max(...points.map((point) => point.x), 1e-9));
  const most = places[places.length - 1];
  const low = Math.max(0, Math.min(...points.map((point) => point.low)) - 0.02);
  const high = Math.min(1, Math.max(...points.map((point) => point.high)) + 0.02);
  const px = (x) => LEFT + ((WIDTH - LEFT - RIGHT) * x) / most;
  const py = (y) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (y - low) / (high - low || 1));
  const levels = ticks(low, high, 4);
  return h(
    "svg",
    { class: "scatter", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    levels.map((level) => [
      s("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: py(level), y2: py(level) }),
      s("text", { class: "ticktext", x: LEFT - 6, y: py(level) + 4, "text-anchor": "end" }, percent(level)),
    ]),
    places.map((place) =>
      s(
        "text",
        { class: "ticktext", x: px(place), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" },
        num(place, most < 5 ? 1 : 0),
      ),
    ),
    s("text", { class: "axisname", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, xName),
    apart(points, px, py).map(([point, at, right]) =>
      s(
        "g",
        { class: `point ${point.pale ? "pale" : ""} ${point.open ? "open" : ""}`, "data-strategy": point.strategy },
        s("title", {}, point.text),
        s("line", { class: "reach", x1: px(point.x), x2: px(point.x), y1: py(point.low), y2: py(point.high) }),
        s("path", { d: point.path, transform: `translate(${px(point.x) - 6} ${py(point.y) - 6})` }),
        s("text", { class: "name", x: right + 10, y: at + 4 }, point.name),
      ),
    ),
  );
};

/** Names that would lie on each other, or on another's shape, are moved apart: [point, height of its name, where the
 * last shape before it stands], the highest first.
 * @param {{x: number, y: number, name: string}[]} points
 * @param {(x: number) => number} px @param {(y: number) => number} py @returns {[any, number, number][]} */
export const apart = (points, px, py) => {
  const sorted = [...points].sort((a, b) => b.y - a.y);
  const near = (one, other) => Math.abs(px(other.x) - px(one.x)) < NAME_WIDTH;
  /** @type {[any, number, number][]} */
  const placed = [];
  for (const point of sorted) {
    let at = py(point.y);
    for (const [other, height] of placed)
      if (near(point, other) && Math.abs(height - at) < NAME_HEIGHT) at = height + NAME_HEIGHT;
    const covered = points.filter((other) => near(point, other) && Math.abs(py(other.y) - at) < NAME_HEIGHT);
    placed.push([point, at, Math.max(px(point.x), ...covered.map((other) => px(other.x)))]);
  }
  return placed;
};
