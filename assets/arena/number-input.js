/* A field for one number of the form: as wide as its value, and its arrow keys take steps of a useful size. */
import { h } from "./dom.js";

/* By how much an arrow key changes a value; whole numbers by 1. Ranges and defaults come with the page from
   llmdemo/settings/decoding.py. */
const STEPS = {
  temperature: 0.05,
  top_p: 0.01,
  min_p: 0.01,
  length_penalty: 0.1,
  repetition_penalty: 0.05,
  frequency_penalty: 0.1,
  presence_penalty: 0.1,
  typical_p: 0.01,
  epsilon_cutoff: 0.001,
  eta_cutoff: 0.001,
  top_n_sigma: 0.1,
  xtc_threshold: 0.01,
  xtc_probability: 0.1,
  penalty_alpha: 0.05,
  dry_multiplier: 0.1,
  guidance_scale: 0.1,
  mirostat_tau: 0.5,
  mirostat_eta: 0.05,
};

/** @param {string} key @param {{low: number, high: number, default: number}} spec @param {() => void} changed */
export function numberInput(key, spec, changed) {
  const { low: least, high: most, default: value } = spec;
  const step = STEPS[key] || 1;
  const input = h("input", {
    type: "number",
    id: "arena-" + key,
    min: String(least),
    max: String(most),
    step: step < 1 ? "any" : String(step),
    inputmode: step < 1 ? "decimal" : "numeric",
    onchange: () => {
      if (input.value === "") input.value = String(value); // or what is no number: shown, as it is what is asked with
      fit();
      changed();
    },
  });
  input.value = String(value);
  const fit = () => {
    input.style.width = Math.max(2, input.value.length) + 2.4 + "ch";
  };
  input.addEventListener("input", fit);
  input.addEventListener("keydown", (event) => {
    // steps of a useful size, whatever the value
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!way || step >= 1) return;
    event.preventDefault();
    input.value = String(Math.min(most, Math.max(least, Math.round((Number(input.value) + way * step) * 1000) / 1000)));
    input.dispatchEvent(new Event("input"));
    input.dispatchEvent(new Event("change"));
  });
  input.fit = fit;
  fit();
  return input;
}
