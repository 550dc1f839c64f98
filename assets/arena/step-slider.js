/* A slider through a run's kept steps: which of them the arena asks, the finished model at its end. Knows ids and
   steps, and nothing of how they are answered. */
import { int } from "../lib/format.js";
import { idAt } from "../lib/kept-steps.js";
import { h, t } from "./dom.js";

/** The ids beside a place on the slider, of kept steps only: the two next where it moves to, and the one behind. */
export const besidesOf = (id, steps, place, back) => {
  const way = back ? -1 : 1;
  const near = [place + way, place - way, place + 2 * way].filter((each) => each in steps);
  return near.map((each) => idAt(id, steps, each));
};

export class StepSlider {
  /** @param {() => void} changed called when another step was chosen */
  constructor(changed) {
    this.id = "";
    /** @type {number[]} */
    this.steps = [];
    this.place = 0;
    this.back = true;
    this.said = h("output", { class: "n" });
    this.input = h("input", {
      type: "range",
      id: "arena-step",
      min: 0,
      step: 1,
      oninput: () => this.say(),
      onchange: () => {
        this.back = Number(this.input.value) < this.place;
        this.place = Number(this.input.value);
        changed();
      },
    });
    this.element = h(
      "div",
      { class: "step-slider", hidden: true },
      h("label", { for: "arena-step" }, t("step_slider")),
      this.input,
      this.said,
    );
  }

  /** Shows the kept steps of this model; hidden for one without any. The place stays where it is the same model. */
  follow(id, steps, wanted = null) {
    const same = id === this.id && JSON.stringify(steps) === JSON.stringify(this.steps);
    if (same && wanted === null) return;
    Object.assign(this, { id, steps });
    this.element.hidden = !steps.length;
    this.input.max = String(steps.length);
    const place = wanted === null ? -1 : steps.indexOf(wanted);
    this.place = place < 0 ? steps.length : place;
    this.input.value = String(this.place);
    this.say();
  }

  get modelId() {
    return idAt(this.id, this.steps, Number(this.input.value));
  }

  /** The models that the next move of the slider asks, most likely one first. */
  get besides() {
    return besidesOf(this.id, this.steps, this.place, this.back);
  }

  say() {
    const step = this.steps[Number(this.input.value)];
    const text = step === undefined ? t("step_slider_end") : t("step_slider_at", { step: int(step) });
    this.said.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
  }
}
