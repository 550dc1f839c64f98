/* Parallel coordinates: rows as lines over several axes. Knows nothing of what a row is. */
import { h, s } from "../view.js";

const NARROW = 640;
const [HEIGHT, TOP, BOTTOM, RIGHT] = [280, 40, 16, 70];
const known = (value) => value !== undefined && value !== null;

/** A short stroke in a line's colour and dashes. @param {{color: string, dash?: string}} look */
export const stroke = ({ color, dash }) =>
  s(
    "svg",
    { class: "stroke-key", width: 22, height: 10, viewBox: "0 0 22 10", "aria-hidden": "true" },
    s("path", { d: "M0 5H22", style: `stroke:${color}`, "stroke-width": 3, "stroke-dasharray": dash }),
  );

/** Where a value of an axis stands, and its least and greatest value. */
const scaleOf = (axis, rows) => {
  const values = rows.map(axis.of).filter(known);
  const f = axis.log ? Math.log : (v) => v;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = f(high) - f(low);
  const room = HEIGHT - TOP - BOTTOM;
  return { low, high, y: (value) => (span ? TOP + (1 - (f(value) - f(low)) / span) * room : TOP + room / 2) };
};

const axisOf = (axis, i, count, width) => {
  const last = i === count - 1;
  const anchor = i === 0 ? "start" : last ? "end" : "middle";
  const x = i === 0 ? 0 : last ? width : axis.x;
  const ends = axis.low === axis.high ? [axis.low] : [axis.high, axis.low];
  const place = (value) => ({
    x: axis.x + (last ? 8 : -8),
    y: axis.y(value) + 4,
    "text-anchor": last ? "start" : "end",
  });
  return [
    s("line", { class: "axis", x1: axis.x, x2: axis.x, y1: TOP, y2: HEIGHT - BOTTOM }),
    s("text", { class: "name", x, y: 14, "text-anchor": anchor }, axis.name),
    ends.map((value) => s("text", place(value), axis.say(value))),
  ];
};

/**
 * @param {any[]} rows
 * @param {{name: string, of: (row: any) => number, say: (value: number) => string, log?: boolean}[]} axes
 * @param {object} options
 * @param {string} options.label
 * @param {(row: any) => string} options.kind "winner" comes last, on top; "fair" first
 * @param {(row: any) => string} options.key
 * @param {string | null} options.marked the key of the row that the pointer is at
 * @param {(key: string | null) => void} options.on told when the pointer comes to a row, or leaves it
 * @param {(key: string) => void} options.choose
 */
export const parallel = (rows, axes, { label, kind, key, marked, on, choose }) => {
  // On a narrow screen its texts keep their size: it scrolls where the axes need more room.
  const narrow = window.innerWidth < NARROW;
  const width = narrow ? Math.max(340, 110 * axes.length) : 900;
  const first = rows.map(axes[0].of).filter(known);
  const left = Math.max(60, ...first.map((value) => 14 + 7 * axes[0].say(value).length));
  const across = (i) => (axes.length === 1 ? width / 2 : left + (i * (width - left - RIGHT)) / (axes.length - 1));
  const places = axes.map((axis, i) => ({ ...axis, ...scaleOf(axis, rows), x: across(i) }));
  const order = (row) => ["fair", "", "winner"].indexOf(kind(row));
  const line = (row) => {
    const d = places
      .map((axis, i) => `${i ? "L" : "M"}${axis.x.toFixed(1)} ${axis.y(axis.of(row)).toFixed(1)}`)
      .join("");
    const id = key(row);
    const hooks = { onpointerenter: () => on(id), onpointerleave: () => on(null), onclick: () => choose(id) };
    return [
      s("path", { class: `run ${kind(row)} ${id === marked ? "on" : ""}`, d }),
      s("path", { class: "hit", d, ...hooks }, s("title", {}, row.label)),
    ];
  };
  return h(
    "div",
    { class: "parallel", tabindex: 0, role: "group", "aria-label": label },
    s(
      "svg",
      {
        viewBox: `0 0 ${width} ${HEIGHT}`,
        role: "img",
        "aria-label": label,
        style: narrow && axes.length > 3 ? `width:${width}px` : undefined,
      },
      places.map((axis, i) => axisOf(axis, i, axes.length, width)),
      [...rows].sort((a, b) => order(a) - order(b)).map(line),
    ),
  );
};
