/* What the arena's status says of a trace. */
import { number, t } from "./dom.js";
import { duration } from "./lanes.js";

const APPROXIMATE = 1e-3;

/** How far a comparison has come; "" before its first step, while the panes still show the one before, which has ended.
   @param {any} trace @returns {string} */
export const progressOf = (trace) => {
  const time = trace.times.at(-1);
  if (!time || trace.end) return "";
  return t("running", {
    n: number(trace.steps),
    all: number(trace.meta.settings.max_new_tokens),
    first: duration(trace.time(0)),
    s: number(time.t, 1),
  });
};

/** int8 weights and the like are an approximation: how far off they are. @param {any} trace @returns {string} */
export const approximationOf = (trace) => {
  const forward = trace.meta && trace.meta.models[0].forward;
  if (forward && forward.note) return forward.note;
  if (!forward || !forward.error || forward.error < APPROXIMATE) return "";
  return t("approximate", { form: forward.form, e: number(100 * forward.error, 1) });
};
