/* Small drawings for evaluations: square curves, a calibration plot, an interval, a bar of wins, words that differ. */
import * as L from "../lib/page.js";
import { h, s, t } from "../lib/page.js";

const SIZE = 220,
  LEFT = 34,
  BOTTOM = 30,
  TOP = 8,
  RIGHT = 8;
const px = (x) => LEFT + x * (SIZE - LEFT - RIGHT),
  py = (y) => TOP + (1 - y) * (SIZE - TOP - BOTTOM);

/* lines: [{x, y, color, dash, faint}], both from 0 to 1; points: [{x, y, r, color, text}]; returns {node, mark(x, y)} */
export const square = ({ lines = [], points = [], xName, yName, label, diagonal }) => {
  const svg = s("svg", { class: "square", viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": label });
  for (const tick of [0, 0.5, 1]) {
    svg.append(
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
    );
  }
  svg.append(
    s("text", { class: "ticktext", x: px(0.5), y: SIZE - 3, "text-anchor": "middle" }, xName),
    s(
      "text",
      { class: "ticktext", x: 9, y: py(0.5), "text-anchor": "middle", transform: `rotate(-90 9 ${py(0.5)})` },
      yName,
    ),
  );
  if (diagonal) svg.append(s("line", { class: "diagonal", x1: px(0), y1: py(0), x2: px(1), y2: py(1) }));
  for (const line of lines)
    svg.append(
      s("path", {
        class: "curve",
        style: `stroke:${line.color}`,
        "stroke-dasharray": line.dash || null,
        d: line.x.map((x, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(line.y[i]).toFixed(1)}`).join(""),
      }),
    );
  for (const point of points)
    svg.append(
      s(
        "circle",
        {
          cx: px(point.x),
          cy: py(point.y),
          r: point.r || 4,
          class: "bubble",
          style: `fill:${point.color};stroke:${point.color}`,
        },
        s("title", {}, point.text || ""),
      ),
    );
  const dot = s("circle", { r: 5, class: "here", hidden: true });
  svg.append(dot);
  const mark = (x, y) => {
    dot.removeAttribute("hidden");
    dot.setAttribute("cx", px(x));
    dot.setAttribute("cy", py(y));
  };
  return { node: svg, mark };
};

// The interval of a difference against zero: a line with a dot, on a scale of its own.
export const whisker = ({ value, low, high }, better) => {
  const most = Math.max(Math.abs(low), Math.abs(high), 1e-12),
    at = (v) => 50 + (46 * v) / most;
  return s(
    "svg",
    {
      class: `whisker ${better ? "sure" : ""}`,
      viewBox: "0 0 100 14",
      role: "img",
      "aria-label": `${L.num(low, 3)} – ${L.num(high, 3)}`,
      preserveAspectRatio: "none",
    },
    s("line", { class: "zero", x1: 50, x2: 50, y1: 0, y2: 14 }),
    s("line", { class: "reach", x1: at(low), x2: at(high), y1: 7, y2: 7 }),
    s("line", { class: "reach", x1: at(value), x2: at(value), y1: 2.5, y2: 11.5 }),
  );
};

// Wins, ties and losses of the second model as one bar; each part says itself in words below.
export const winBar = (tally) => {
  const part = (n, kind) => (n ? h("i", { class: kind, style: `flex-grow:${n}` }) : null);
  return h(
    "div",
    {},
    h(
      "div",
      { class: "winbar", "aria-hidden": "true" },
      part(tally.wins, "win"),
      part(tally.ties, "tie"),
      part(tally.losses, "loss"),
    ),
    h(
      "div",
      { class: "cap keys" },
      h("span", { class: "key" }, h("i", { class: "swatch win" }), t("eval_wins", { n: tally.wins })),
      h("span", { class: "key" }, h("i", { class: "swatch tie" }), t("eval_ties", { n: tally.ties })),
      h("span", { class: "key" }, h("i", { class: "swatch loss" }), t("eval_losses", { n: tally.losses })),
    ),
  );
};

// `text` with the words underlined that `reference` does not have in this order (longest common subsequence).
export const differing = (text, reference) => {
  const cut = (value) => value.match(/\s+|[\u3040-\u30ff\u3400-\u9fff]|[\p{L}\p{N}_]+|[^\s]/gu) || [];
  const a = cut(text),
    b = cut(reference);
  if (a.length * b.length > 400000) return [text];
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const parts = [];
  for (let i = 0, j = 0; i < a.length; i++) {
    while (j < b.length && a[i] !== b[j] && table[i][j + 1] >= table[i + 1][j]) j++;
    const same = j < b.length && a[i] === b[j];
    if (same) j++;
    const kind = same || !a[i].trim() ? "" : "differs",
      last = parts[parts.length - 1];
    if (last && last.kind === kind) last.text += a[i];
    else parts.push({ kind, text: a[i] });
  }
  return parts.map((part) => (part.kind ? h("mark", { class: "differs" }, part.text) : part.text));
};
