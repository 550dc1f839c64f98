/* A lesson on a reward that is won without right answers: by choosing among drawn answers, and by a run that learns for
   it. */
import { plot } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { hacking } from "../train/hacking.js";
import { Asking, dataMenu, lastChosen, legend, modelMenu, newest, said, waiting } from "./parts.js";
import { Race } from "./run-views.js";

const DRAWN = 16;

/* What a reward counts; none of them asks whether the answer is right. */
export const REWARDS = {
  length: (answer) => answer.trim().split(/\s+/).length,
  exclaims: (answer) => (answer.match(/!/g) || []).length,
  commas: (answer) => (answer.match(/,/g) || []).length,
};

/**
 * Mean reward and quality of the best-rewarded of `n` answers, over all choices of n among those drawn (no luck in the
 * order). @param {{reward: number, quality: number}[]} answers @param {number} n
 */
export const bestOf = (answers, n) => {
  const sorted = [...answers].sort((a, b) => b.reward - a.reward || a.quality - b.quality);
  const total = sorted.length;
  let left = n / total; // the chance that the first is among the n
  const found = { reward: 0, quality: 0 };
  let none = 1;
  for (let i = 0; i + n <= total; i += 1) {
    left = (none * n) / (total - i);
    found.reward += left * sorted[i].reward;
    found.quality += left * sorted[i].quality;
    none -= left;
  }
  return found;
};

/** The more answers a reward may choose from, the more of it is won, and the answers' quality falls behind. */
export class Hacking extends Asking {
  state = {
    things: null,
    data: "",
    model: "starter",
    record: null,
    answers: null,
    reward: "length",
    seed: 0,
    error: null,
    busy: false,
  };
  async componentDidMount() {
    const things = await this.things();
    this.setState({ data: newest(things, ["chat"]) });
  }
  look = (seed) =>
    this.work(async () => {
      const { records, error } = await this.ask("records", { dataset_id: this.state.data, count: 1 });
      if (error) return { error };
      const [record] = records;
      const asked = { model_id: this.state.model, prompt: record.prompt, wanted: record.answer, count: DRAWN };
      const found = await this.ask("several", { ...asked, seed });
      return found.error ? { error: found.error } : { record, answers: found.answers, seed };
    });
  shown() {
    const { answers, reward, record } = this.state;
    const scored = answers.map((each) => ({ ...each, reward: REWARDS[reward](each.text) }));
    const counts = [1, 2, 4, 8, 16].filter((n) => n <= scored.length);
    const means = counts.map((n) => bestOf(scored, n));
    const most = Math.max(1e-9, ...means.map((each) => each.reward));
    const best = Math.max(1e-9, ...means.map((each) => each.quality));
    const line = (key, values, color) => ({ name: t(key), x: counts, y: values, color });
    const won = line(
      "lesson_hacking_reward",
      means.map((each) => each.reward / most),
      "var(--topk)",
    );
    const right = line(
      "lesson_hacking_quality",
      means.map((each) => each.quality / best),
      "var(--topp)",
    );
    const winner = scored.reduce((a, b) => (b.reward > a.reward ? b : a));
    return [
      legend([won, right]),
      plot([won, right], [], {
        xName: t("lesson_hacking_n"),
        label: t("lesson_hacking_curve"),
        limits: [0, 1],
        yFormat: L.percent,
      }),
      said(
        t("lesson_hacking_winner", { reward: L.int(winner.reward), quality: L.percent(winner.quality) }),
        winner.text,
      ),
      said(t("lesson_start_wanted"), record.answer),
    ];
  }
  render({ server }, { things, data, model, record, answers, reward, seed, error, busy }) {
    const draw = () => this.look(answers ? seed + DRAWN : 0); // answer n is drawn with the seed + n
    /** @type {[string, string][]} */
    const options = Object.keys(REWARDS).map((key) => [key, t(`lesson_hacking_by_${key}`)]);
    return h(
      "div",
      {},
      things
        ? dataMenu(things, data, (value) => this.anew({ data: value, record: null, answers: null }), ["chat"])
        : null,
      things ? modelMenu(things, model, (value) => this.anew({ model: value, answers: null })) : null,
      record ? said(t("lesson_start_prompt"), record.prompt.at(-1).content) : null,
      busy
        ? null
        : L.button(t(answers ? "lesson_hacking_again" : "lesson_hacking_go"), draw, answers ? "quiet" : "strong", {
            id: "lesson-hacking",
            disabled: !things,
          }),
      waiting(busy),
      answers && !busy
        ? L.choice(t("lesson_hacking_by"), options, reward, (value) => this.setState({ reward: value }))
        : null,
      answers && !busy ? this.shown() : null,
      L.notice(error),
      h("h3", {}, t("lesson_hacking_run")),
      h("p", {}, t("lesson_hacking_run_about")),
      h(Pressed, { server }),
    );
  }
}

/** A run that learns for a reward, with the held-out check beside it. */
class Pressed extends Race {
  kind = "hacking";
  go = "lesson_hacking_run_go";
  training = "lesson_hacking_run_training";
  /* The sample: its answers have one right form and a length that is known. */
  of() {
    return "";
  }
  from(things) {
    return lastChosen(things, things.first || "starter"); // a model that gives right answers has some to lose
  }
  curves() {
    const [{ curves }] = this.state.runs;
    const line = (key, { step, value }, color) => ({ name: t(key), x: step, y: value, color });
    const lines = [
      line("lesson_hacking_run_reward", curves.eval_reward, "var(--topk)"),
      line("lesson_hacking_run_check", curves.eval_held_out_check, "var(--topp)"),
    ];
    return this.drawn(lines, { label: t("lesson_hacking_run_curves"), limits: [0, 1], yFormat: L.percent });
  }
  shown([{ curves, samples }]) {
    const ends = ({ value }) => [value[0], value.at(-1)].map((share) => L.percent(share));
    const [[reward, reward2], [check, check2]] = [ends(curves.eval_reward), ends(curves.eval_held_out_check)];
    const found = hacking(curves) ? "lesson_hacking_run_said" : "lesson_hacking_run_unsaid";
    const sample = samples[0];
    return [
      h("p", { role: "status" }, t(found, { reward, reward2, check, check2 })),
      sample
        ? [
            said(t("lesson_start_prompt"), sample.prompt),
            said(t("lesson_start_before"), sample.outputs[0].text),
            said(t("lesson_start_after"), sample.outputs.at(-1).text),
            said(t("lesson_start_wanted"), sample.expected),
          ]
        : null,
    ];
  }
}
