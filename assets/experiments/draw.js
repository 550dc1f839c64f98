/* Drawings of experiments: parallel coordinates for the page, and plots as SVG or PNG files with their colours in them. */
import * as L from "../lib/page.js";
import { ticks } from "../lib/chart.js";
import { h, s } from "../lib/page.js";

const colour = (value) =>
  value.startsWith("var(")
    ? getComputedStyle(document.querySelector(".island") || document.body)
        .getPropertyValue(value.slice(4, -1))
        .trim()
    : value;

// A short stroke in a line's colour and dashes.
export const raceKey = ({ color, dash }) =>
  s(
    "svg",
    {
      width: 22,
      height: 10,
      viewBox: "0 0 22 10",
      "aria-hidden": "true",
      style: "vertical-align:middle;margin-right:6px",
    },
    s("path", { d: "M0 5H22", style: `stroke:${color}`, "stroke-width": 3, "stroke-dasharray": dash }),
  );

/* rows as lines over axes [{name, of(row), say(value), log}]. Lines of `kind(row)` "winner" come last, on top; `on(key)` tells
   which one the pointer is at, `choose(key)` which was clicked. */
export const parallel = (rows, axes, { label, kind, key, on, choose }) => {
  // On a narrow screen its texts keep their size: it scrolls where the axes need more room.
  const narrow = window.innerWidth < 640,
    W = narrow ? Math.max(340, 110 * axes.length) : 900,
    H = 280,
    TOP = 40,
    BOTTOM = 16,
    RIGHT = 70;
  const first = rows.map(axes[0].of).filter((value) => value !== undefined && value !== null),
    LEFT = Math.max(60, ...first.map((value) => 14 + 7 * axes[0].say(value).length));
  const svg = s("svg", {
    viewBox: `0 0 ${W} ${H}`,
    role: "img",
    "aria-label": label,
    style: narrow && axes.length > 3 ? `width:${W}px` : null,
  });
  const scale = (axis) => {
    const values = rows.map(axis.of).filter((value) => value !== undefined && value !== null),
      f = axis.log ? Math.log : (v) => v;
    const low = Math.min(...values),
      high = Math.max(...values),
      span = f(high) - f(low);
    return {
      low,
      high,
      y: (value) => (span ? TOP + (1 - (f(value) - f(low)) / span) * (H - TOP - BOTTOM) : (TOP + H - BOTTOM) / 2),
    };
  };
  const places = axes.map((axis, i) => ({
    ...axis,
    ...scale(axis),
    x: axes.length === 1 ? W / 2 : LEFT + (i * (W - LEFT - RIGHT)) / (axes.length - 1),
  }));
  places.forEach((axis, i) => {
    const last = i === places.length - 1,
      anchor = i === 0 ? "start" : last ? "end" : "middle",
      x = i === 0 ? 0 : last ? W : axis.x;
    svg.append(
      s("line", { class: "axis", x1: axis.x, x2: axis.x, y1: TOP, y2: H - BOTTOM }),
      s("text", { class: "name", x, y: 14, "text-anchor": anchor }, axis.name),
    );
    const ends = axis.low === axis.high ? [axis.low] : [axis.high, axis.low];
    for (const value of ends)
      svg.append(
        s(
          "text",
          { x: axis.x + (last ? 8 : -8), y: axis.y(value) + 4, "text-anchor": last ? "start" : "end" },
          axis.say(value),
        ),
      );
  });
  const order = (row) => ["fair", "", "winner"].indexOf(kind(row));
  for (const row of [...rows].sort((a, b) => order(a) - order(b))) {
    const d = places
      .map((axis, i) => `${i ? "L" : "M"}${axis.x.toFixed(1)} ${axis.y(axis.of(row)).toFixed(1)}`)
      .join("");
    const hit = s("path", { class: "hit", d }, s("title", {}, row.label));
    hit.addEventListener("pointerenter", () => on(key(row)));
    hit.addEventListener("pointerleave", () => on(null));
    hit.addEventListener("click", () => choose(key(row)));
    svg.append(s("path", { class: `run ${kind(row)}`, d, "data-run": key(row) }), hit);
  }
  return h("div", { class: "parallel", tabindex: 0, role: "group", "aria-label": label }, svg);
};

const text = (value) => new XMLSerializer().serializeToString(value);
const sheet = (W, H, ...children) =>
  s(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${W} ${H}`,
      width: W,
      height: H,
      "font-family": "system-ui, sans-serif",
      "font-size": 12,
    },
    s("rect", { width: W, height: H, fill: colour("var(--card)") }),
    ...children,
  );

/* A plot as a file: lines [{x, y, name, color, dash, dots}] on axes with numbers, a title and a legend. */
export const raceSvg = (lines, { title, xName, xFormat, label }) => {
  const W = 900,
    H = 420,
    LEFT = 56,
    RIGHT = 20,
    TOP = 60,
    BOTTOM = 48,
    ink = colour("var(--ink)"),
    soft = colour("var(--soft)");
  const full = lines.filter((line) => line.x.length),
    all = (axis) => full.flatMap((line) => line[axis]);
  const low = (list) => list.reduce((a, b) => Math.min(a, b), Infinity),
    high = (list) => list.reduce((a, b) => Math.max(a, b), -Infinity);
  const x1 = full.length ? Math.max(1e-9, high(all("x"))) : 1,
    y0 = full.length ? Math.min(0.98 * low(all("y")), low(all("y"))) : 0,
    y1 = full.length ? high(all("y")) + 1e-9 : 1;
  const px = (x) => LEFT + (x / x1) * (W - LEFT - RIGHT),
    py = (y) => TOP + ((y1 - y) / (y1 - y0)) * (H - TOP - BOTTOM);
  const parts = [s("text", { x: LEFT, y: 22, fill: ink, "font-size": 15, "font-weight": 600 }, title)];
  for (const y of ticks(y0, y1, 5))
    parts.push(
      s("line", { x1: LEFT, x2: W - RIGHT, y1: py(y), y2: py(y), stroke: colour("var(--line)") }),
      s("text", { x: LEFT - 8, y: py(y) + 4, fill: soft, "text-anchor": "end" }, L.num(y, y1 - y0 < 0.5 ? 3 : 2)),
    );
  for (const x of ticks(0, x1, 6))
    parts.push(s("text", { x: px(x), y: H - BOTTOM + 18, fill: soft, "text-anchor": "middle" }, xFormat(x)));
  parts.push(
    s("text", { x: W - RIGHT, y: H - 10, fill: soft, "text-anchor": "end" }, xName || ""),
    s("text", { x: LEFT, y: H - 10, fill: soft }, label),
  );
  let legend = LEFT;
  for (const line of full) {
    const stroke = colour(line.color);
    if (line.dots) {
      line.x.forEach((x, i) =>
        parts.push(
          s("circle", { cx: px(x), cy: py(line.y[i]), r: 4, fill: colour("var(--card)"), stroke, "stroke-width": 2 }),
        ),
      );
      continue;
    }
    const d = line.x.map((x, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(line.y[i]).toFixed(1)}`).join("");
    parts.push(
      s("path", { d, fill: "none", stroke, "stroke-width": 2, "stroke-dasharray": line.dash }),
      s("path", { d: `M${legend} 40h22`, stroke, "stroke-width": 3, "stroke-dasharray": line.dash }),
      s("text", { x: legend + 28, y: 44, fill: ink }, line.name),
    );
    legend += 50 + 8 * line.name.length;
  }
  return text(sheet(W, H, ...parts));
};

// A drawing of the page as a file: what the style sheet says is written into it.
export const standalone = (svg, title) => {
  const heading = s("text", { x: 20, y: 26, fill: colour("var(--ink)"), "font-size": 15, "font-weight": 600 }, title);
  if (!svg) return text(sheet(900, 60, heading));
  const copy = svg.cloneNode(true),
    [, , W, H] = svg.getAttribute("viewBox").split(" ").map(Number);
  copy.querySelectorAll(".hit").forEach((node) => node.remove());
  const from = svg.querySelectorAll("line, path:not(.hit), text"),
    to = copy.querySelectorAll("line, path, text");
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const name of ["stroke", "stroke-width", "fill", "opacity", "font-weight"])
      to[i].setAttribute(name, style.getPropertyValue(name));
  });
  return text(sheet(W, H + 50, heading, s("g", { transform: "translate(10 42) scale(0.977)" }, ...copy.childNodes)));
};

// The same as a picture of points, at twice the size.
export const savePng = (name, svg) => {
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: image.width * 2, height: image.height * 2 });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => {
      const url = URL.createObjectURL(blob);
      h("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    }, "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
};
