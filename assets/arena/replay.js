/* The bar below a comparison that moves through its steps. Knows how many there are, not what they are. */
import { h, number, t } from "./dom.js";

const REPLAY_PER_SECOND = 10;

export class Replay {
  /** The step that is shown; null: the newest. @type {number | null} */
  at = null;
  /** @type {ReturnType<typeof setInterval> | null} */
  timer = null;

  /** @param {{steps: () => number, draw: () => void}} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    const small = (key, sign, act) =>
      h("button", { type: "button", class: "small", "aria-label": t(key), title: t(key), onclick: act }, sign);
    this.button = small("play", "▶", () => this.toggle());
    this.slider = h("input", {
      type: "range",
      min: "0",
      max: "1",
      value: "1",
      "aria-label": t("slider"),
      oninput: () => this.seek(Number(this.slider.value)),
    });
    this.moment = h("output", {});
    this.element = h(
      "div",
      { class: "replay", hidden: true },
      this.button,
      small("step_back", "‹", () => this.step(-1)),
      this.slider,
      small("step_on", "›", () => this.step(1)),
      this.moment,
    );
  }

  /** The step that is shown, of `steps`. @param {number} steps */
  shown(steps) {
    return this.at === null ? steps : Math.min(this.at, steps);
  }

  /** @param {number | null} n */
  seek(n) {
    this.at = n === null || n >= this.hooks.steps() ? null : n;
    if (this.timer && n === null) this.toggle();
    this.hooks.draw();
  }

  /** One step of all lanes, on or back. @param {number} by */
  step(by) {
    const steps = this.hooks.steps();
    if (this.timer) this.toggle();
    this.seek(Math.max(0, Math.min(steps, this.shown(steps) + by)));
  }

  /** Plays on, or pauses. */
  toggle() {
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    } else if (this.hooks.steps()) {
      let n = this.at === null ? 0 : this.at;
      this.timer = setInterval(() => {
        n += 1;
        this.seek(n >= this.hooks.steps() ? null : n);
      }, 1000 / REPLAY_PER_SECOND);
    }
    this.button.textContent = this.timer ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", t(this.timer ? "pause" : "play"));
  }

  /** @param {number} n @param {number} steps */
  draw(n, steps) {
    this.element.hidden = steps === 0;
    this.slider.max = String(Math.max(1, steps));
    this.slider.value = String(n);
    this.moment.textContent = t("moment", { n: number(n), all: number(steps) });
  }
}
