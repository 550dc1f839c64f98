/* What the arena's scripts share: words, shapes, short numbers, the clipboard. Elements come from lib/dom.js. */
import * as L from "../lib/dom.js";
import { lang, t as say } from "../lib/words.js";

// One shape a strategy, everywhere.
export const SHAPES = {
  greedy: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z",
  top_k: "M6 .5 11.8 11H.2z",
  top_p: "M1 1h10v10H1z",
  beam: "M6 0 12 6 6 12 0 6z",
  min_p: "M6 11.5.2 1h11.6z",
  typical_p: "M3 .8h6L12 6 9 11.2H3L0 6z",
  epsilon: "M0 9a6 6 0 0 1 12 0z",
  eta: "M6 .3 12 4.7 9.7 11.6H2.3L0 4.7z",
  top_n_sigma: "M6 0l1.6 4.2L12 4.6 8.6 7.4 9.7 12 6 9.5 2.3 12l1.1-4.6L0 4.6l4.4-.4z",
  xtc: "M2.3 0 6 3.7 9.7 0 12 2.3 8.3 6 12 9.7 9.7 12 6 8.3 2.3 12 0 9.7 3.7 6 0 2.3z",
  mirostat: "M0 0h12L7.2 6 12 12H0l4.8-6z",
  best_of_n: "M0 2.5h12L6 12z M3 0h6v1.5H3z",
  self_consistency: "M0 0h5v5H0z M7 0h5v5H7z M3.5 7h5v5h-5z",
  mbr: "M6 0a6 6 0 1 0 0 12A6 6 0 1 0 6 0z M6 3a3 3 0 1 1 0 6 3 3 0 1 1 0-6z",
  diverse_beam: "M3.5 1 7 6 3.5 11 0 6z M8.5 1 12 6 8.5 11 7.2 9.2 9.4 6 7.2 2.8z",
  stochastic_beam: "M6 0 12 6 6 12 0 6z M6 3.5 3.5 6 6 8.5 8.5 6z",
  sample: "M4.2 0h3.6v4.2H12v3.6H7.8V12H4.2V7.8H0V4.2h4.2z",
};

const formats = []; // making one takes longer than all else in a frame
const format = (digits) =>
  (formats[digits] = formats[digits] || new Intl.NumberFormat(lang, { maximumFractionDigits: digits }));
export const number = (value, digits = 0) =>
  value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : format(digits).format(value).replace("-", "−");

// A probability as per cent, with two figures where it is small.
export const percent = (p) => {
  if (p > 0 && p < 0.0005) return "<0.1";
  return number(100 * p, p < 0.0995 ? 1 : 0);
};

export const copy = async (text) => {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = L.h("textarea", { class: "unseen", "aria-hidden": "true", value: text });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy"); // the only way on plain http
  area.remove();
  if (!copied) throw new Error("clipboard");
};

export { h, s as svg } from "../lib/dom.js";
/** A text of the arena. @param {string} key @param {Record<string, unknown>} [values] */
export const t = (key, values) => say("arena_" + key, values);
/** Whether the reader wants no motion. */
export const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
/** A strategy's shape. @param {string} strategy */
export const shape = (strategy) =>
  L.s(
    "svg",
    { width: 12, height: 12, viewBox: "0 0 12 12", class: "shape", "aria-hidden": "true" },
    L.s("path", { d: SHAPES[strategy] || SHAPES.sample }),
  );
/** A token's text with its spaces and line ends made visible. @param {string} text */
export const visible = (text) => text.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥") || "∅";
