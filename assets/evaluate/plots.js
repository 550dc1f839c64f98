/* Small drawings for evaluations: an interval, a bar of wins, words that differ. */
import { num } from "../lib/format.js";
import { h, s } from "../lib/view.js";
import { t } from "../lib/words.js";
import { parts } from "./differences.js";

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
      "aria-label": `${num(low, 3)} – ${num(high, 3)}`,
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

// `text` with the words marked that `reference` does not have in this order.
export const differing = (text, reference) =>
  parts(text, reference).map((part) => (part.differs ? h("mark", { class: "differs" }, part.text) : part.text));
