/* Plots as SVG or PNG files, with their colours written into them: a file has no style sheet. */
import { saveBlob } from "../lib/api.js";
import { ticks } from "../lib/chart/axis.js";
import { h, s } from "../lib/dom.js";
import { num } from "../lib/format.js";

const colour = (value) =>
  value.startsWith("var(")
    ? getComputedStyle(document.querySelector(".island") || document.body)
        .getPropertyValue(value.slice(4, -1))
        .trim()
    : value;

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
      s("text", { x: LEFT - 8, y: py(y) + 4, fill: soft, "text-anchor": "end" }, num(y, y1 - y0 < 0.5 ? 3 : 2)),
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
    canvas.toBlob((blob) => blob && saveBlob(name, blob), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
};
