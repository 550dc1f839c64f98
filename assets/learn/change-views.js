/* Lessons on what changes: what a run has forgotten, and when a model is asked other things than before. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { aRun, Asking, bars, dataMenu, lastChosen, mean, modelMenu, text, waiting } from "./parts.js";

const lines = (value) => value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 12); // prettier-ignore
const area = (label, value, onchange) => text(label, value, onchange, { tag: "textarea", rows: 4 });

/** Loss on the task and on other texts, by the base and by a finished run. */
export class Forgetting extends Asking {
  state = {
    things: null,
    model: null,
    data: "",
    other: t("lesson_forgetting_texts"),
    found: null,
    error: null,
    busy: false,
  };
  async componentDidMount() {
    const things = await this.things();
    const run = aRun(things);
    if (run) this.look({ model: run });
  }
  look = (change) => {
    const { model, data, other } = { ...this.state, ...change };
    this.setState(change);
    if (!model) return null; // it is not known yet which there are
    return this.work(async () => {
      const { records, error } = await this.ask("records", { dataset_id: data, count: 8 });
      if (error) return { error };
      const found = [];
      for (const base of [true, false]) {
        const both = [];
        for (const texts of [records, lines(other)]) {
          const answer = await this.ask("surprises", { model_id: model, base, texts });
          if (answer.error) return { error: answer.error };
          both.push(mean(answer.texts.map((each) => each.mean)));
        }
        found.push(both);
      }
      return { found };
    });
  };
  render({ open }, { things, model, data, other, found, error, busy }) {
    if (things && !model)
      return h(
        "div",
        {},
        h("p", {}, t("lesson_needs_first")),
        L.button(t("lesson_start_title"), () => open("start"), ""),
      );
    const rows = (n) =>
      bars([
        [t("lesson_race_base"), found[0][n], L.num(found[0][n], 2), "--edge"],
        [t("lesson_tuned"), found[1][n], L.num(found[1][n], 2), "--greedy"],
      ]);
    const isRun = (each) => each.kind === "run";
    const rise = found ? found[1][1] - found[0][1] : 0;
    const by = L.num(rise, 2);
    return h(
      "div",
      {},
      things ? modelMenu(things, model, (value) => this.look({ model: value }), t("lesson_run"), isRun) : null,
      things ? dataMenu(things, data, (value) => this.look({ data: value }), ["chat"]) : null,
      area(t("lesson_forgetting_other"), other, (value) => this.look({ other: value })),
      waiting(busy),
      found && !busy
        ? [
            h("h3", {}, t("lesson_forgetting_task")),
            rows(0),
            h("h3", {}, t("lesson_forgetting_rest")),
            rows(1),
            h("p", { role: "status" }, t(rise > 0.05 ? "lesson_forgetting_lost" : "lesson_forgetting_kept", { by })),
          ]
        : null,
      L.notice(error),
    );
  }
}

/** The probability that a random value of `b` is above one of `a`, ties by half: 0.5 where nothing has moved. */
export const above = (a, b) =>
  mean(b.flatMap((y) => a.map((x) => (y > x ? 1 : y === x ? 0.5 : 0)))); // prettier-ignore

/** A model's surprise at the questions of its data and at others. */
export class Drift extends Asking {
  state = {
    things: null,
    model: "starter",
    data: "",
    other: t("lesson_drift_texts"),
    found: null,
    error: null,
    busy: true,
  };
  async componentDidMount() {
    const things = await this.things();
    this.look({ model: lastChosen(things, aRun(things) || "starter") });
  }
  look = (change) => {
    const { model, data, other } = { ...this.state, ...change };
    this.setState(change);
    return this.work(async () => {
      const { records, error } = await this.ask("records", { dataset_id: data, count: 12 });
      if (error) return { error };
      const found = [];
      for (const texts of [records.map((each) => each.prompt.at(-1).content), lines(other)]) {
        const answer = await this.ask("surprises", { model_id: model, texts });
        if (answer.error) return { error: answer.error };
        found.push(answer.texts.map((each) => each.mean));
      }
      return { found };
    });
  };
  strip(values, most, color, label) {
    const dot = (value) => h("i", { style: `left:${((100 * value) / most).toFixed(1)}%;border-color:var(${color})` });
    return h("div", { class: "lesson-strip", role: "img", "aria-label": label }, values.map(dot));
  }
  render(_props, { things, model, data, other, found, error, busy }) {
    const most = found ? 1.05 * Math.max(...found.flat()) : 1;
    const row = (n, key, color) => {
      const name = t(key, { mean: L.num(mean(found[n]), 2) });
      return [h("p", {}, name), this.strip(found[n], most, color, name)];
    };
    return h(
      "div",
      {},
      things ? modelMenu(things, model, (value) => this.look({ model: value })) : null,
      things ? dataMenu(things, data, (value) => this.look({ data: value }), ["chat"]) : null,
      area(t("lesson_drift_other"), other, (value) => this.look({ other: value })),
      waiting(busy),
      found && !busy
        ? [
            row(0, "lesson_drift_usual", "--greedy"),
            row(1, "lesson_drift_new", "--topk"),
            h("p", { role: "status" }, t("lesson_drift_said", { share: L.percent(above(found[0], found[1])) })),
          ]
        : null,
      L.notice(error),
    );
  }
}
