/* How contestants are called and marked: a strategy's name, shape and settings, and its model. */
import { SHAPES } from "../arena/dom.js";
import { laneTitle, settingsText } from "../arena/lanes.js";
import { h, s } from "../lib/view.js";

/** @param {{lane?: string, model?: string}} contestant */
export const titleOf = ({ lane, model }) => (lane ? laneTitle({ name: lane }) : model || "");

/** A strategy's shape in its own colour; nothing for a model. @param {string} strategy */
export const mark = (strategy) =>
  strategy
    ? s(
        "svg",
        {
          width: 12,
          height: 12,
          viewBox: "0 0 12 12",
          class: "shape",
          "aria-hidden": "true",
          "data-strategy": strategy,
        },
        s("path", { d: SHAPES[strategy] || SHAPES.sample }),
      )
    : null;

/** A contestant in full: name, then settings and model in small print. */
export const named = ({ lane, strategy, model, settings }) =>
  h(
    "span",
    { class: "contestant" },
    mark(strategy),
    h("b", {}, titleOf({ lane })),
    h("small", {}, [settingsText({ strategy, ...settings }), model].filter(Boolean).join(" · ")),
  );

/** Names of rows of the board, with the model where there are several of both. */
export const rowTitle = (row) => [row.lane && titleOf(row), row.model].filter(Boolean).join(" · ");
