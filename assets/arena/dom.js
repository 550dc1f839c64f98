/* What the arena's scripts share: words, shapes, short numbers, the clipboard. Elements come from lib/dom.js. */
import * as L from "../lib/dom.js";
import { SHAPES } from "../lib/strategies.js";
import { lang, t as say, withMinus } from "../lib/words.js";

const formats = {}; // making one takes longer than all else in a frame
const format = (most, least) =>
  (formats[`${most} ${least}`] ??= new Intl.NumberFormat(lang, {
    maximumFractionDigits: most,
    minimumFractionDigits: least,
  }));
export const number = (value, digits = 0, least = 0) =>
  value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : withMinus(format(digits, least).format(value));
/** A figure that stands beside others of its kind: with all of its digits. @param {number | null | undefined} value
   @param {number} digits */
export const figure = (value, digits) => number(value, digits, digits);

// A probability as per cent, with two figures where it is small.
export const percent = (p) => {
  if (p > 0 && p < 0.0005) return "<0.1";
  return number(100 * p, p < 0.0995 ? 1 : 0);
};

export { bytes, inUnits } from "../lib/format.js";
export { copy } from "../lib/clipboard.js";
export { h, s as svg } from "../lib/dom.js";
export { SHAPES } from "../lib/strategies.js";
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
