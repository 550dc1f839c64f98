/* Lessons whose model is so small that the page itself trains it: pretraining from nothing, and a classifier by
   words. */
import { plot } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";
import { said, text } from "./parts.js";
import { Bigram, wordClassifier, wordsOf } from "./small-models.js";

const STEPS = 200;
const MOST = 4000;

/** A bigram model of the characters of a text of one's own, from ln V on. */
export class Pretrain extends Component {
  state = { text: t("lesson_pretrain_text"), curve: null, before: "", after: "", size: 0 };
  train = () => {
    const model = new Bigram(this.state.text.slice(0, MOST));
    const curve = [model.loss()];
    const before = model.write(80);
    for (let step = 0; step < STEPS; step += 1) {
      model.step();
      curve.push(model.loss());
    }
    this.setState({ curve, before, after: model.write(80), size: model.characters.length });
  };
  render(_props, { text: typed, curve, before, after, size }) {
    const type = (value) => this.setState({ text: value, curve: null });
    const line = curve && { name: t("learn_loss"), x: curve.map((_, n) => n), y: curve, color: "var(--greedy)" };
    const few = new Set(typed).size < 2;
    return h(
      "div",
      {},
      text(t("lesson_pretrain_own"), typed, type, { tag: "textarea", rows: 4, maxlength: MOST }),
      few ? h("p", { class: "soft" }, t("lesson_pretrain_few")) : null,
      curve || few ? null : L.button(t("lesson_pretrain_go"), this.train, "strong", { id: "lesson-pretrain" }),
      curve
        ? h(
            "p",
            { role: "status" },
            t("lesson_pretrain_said", { size, start: L.num(Math.log(size), 2), end: L.num(curve.at(-1), 2) }),
          )
        : null,
      curve ? plot([line], [], { xName: t("lesson_step"), label: t("lesson_pretrain_curve") }) : null,
      curve ? said(t("lesson_start_before"), before) : null,
      curve ? said(t("lesson_tuned"), after) : null,
    );
  }
}

/* "label: text" lines; what has no colon, or another label than the first two, is left out. */
export const examplesOf = (value) => {
  const rows = value.split("\n").map((line) => /^\s*([^:：]{1,40})[:：]\s*(\S.*)$/.exec(line));
  const examples = rows.flatMap((row) => (row ? [{ label: row[1].trim(), text: row[2] }] : []));
  const labels = [...new Set(examples.map(({ label }) => label))].slice(0, 2);
  return labels.length < 2 ? [] : examples.filter(({ label }) => labels.includes(label));
};

/** Words that tell, learned from a dozen labelled lines. */
export class Classify extends Component {
  state = { lines: t("lesson_classify_lines"), asked: t("lesson_classify_asked") };
  render(_props, { lines, asked }) {
    const examples = examplesOf(lines);
    const model = examples.length ? wordClassifier(examples) : null;
    const token = (word) => {
      const weight = model?.weight(word) || 0;
      const strength = Math.min(40, Math.round(40 * Math.abs(weight)));
      const color = weight < 0 ? "--greedy" : "--topk";
      const style = `background:color-mix(in srgb, var(${color}) ${strength}%, transparent)`;
      return h("span", { style, title: L.num(weight, 2) }, `${word} `);
    };
    return h(
      "div",
      {},
      text(t("lesson_classify_own"), lines, (value) => this.setState({ lines: value }), { tag: "textarea", rows: 8 }),
      text(t("lesson_classify_new"), asked, (value) => this.setState({ asked: value })),
      model
        ? [
            h(
              "p",
              { role: "status" },
              t("lesson_classify_said", {
                label: model.labels[1],
                share: L.percent(model.chance(asked)),
                n: examples.length,
              }),
            ),
            h("p", { class: "tok" }, wordsOf(asked).map(token)),
            h("p", { class: "soft" }, t("lesson_classify_colours", { a: model.labels[0], b: model.labels[1] })),
          ]
        : h("p", { class: "soft" }, t("lesson_classify_none")),
    );
  }
}
