/* Lessons on training: the first result, two runs raced, preferences. */
import { plot } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import {
  aRun,
  Asking,
  bars,
  dataMenu,
  lastChosen,
  legend,
  mean,
  modelMenu,
  newest,
  range,
  said,
  table,
  waiting,
} from "./parts.js";
import { Loss } from "./text-views.js";

const ENDED = ["completed", "failed", "stopped"];

/** Asks for the runs' progress until all have ended: {runs}, or {error}. `see(runs)` gets each. */
const followed = async (view, run_ids, late, see) => {
  for (;;) {
    const news = L.changed(run_ids);
    const found = await view.ask("progress", { run_ids });
    if (late()) return null;
    if (found.error && !found.lost) return { error: found.error };
    if (!found.error) {
      see(found.runs);
      const failed = found.runs.find((run) => ["failed", "stopped"].includes(run.state));
      if (failed) return { error: { message: failed.message || t("lesson_start_failed"), hint: failed.hint || "" } };
      if (found.runs.every((run) => ENDED.includes(run.state))) return { runs: found.runs };
    }
    await news;
  }
};
const shareOf = (runs) => {
  const shares = runs.map((run) =>
    run.total_steps ? (run.step || 0) / run.total_steps : Number(run.state === "completed"),
  );
  return Math.min(1, mean(shares));
};

/** About how long these runs, which train one after the other, still take; nothing while that is not known. */
const timeLeft = (runs) => {
  const going = runs.filter((run) => !ENDED.includes(run.state));
  const at = going.find((run) => run.eta_seconds && run.total_steps > run.step);
  if (!at) return null;
  const whole = (at.eta_seconds / (at.total_steps - at.step)) * at.total_steps;
  const time = L.duration(at.eta_seconds + (going.length - 1) * whole);
  return h("p", { class: "soft" }, t("generate_left", { time }));
};

// ---- the first result, in a minute or so
export class Start extends Asking {
  state = { record: null, before: null, after: null, run: null, error: null, busy: false };
  componentDidMount() {
    if (this.props.now) this.begin();
  }
  greedy = async (model_id) => {
    const asked = { model_id, prompt: this.state.record.prompt, lanes: ["greedy"], max_new_tokens: 48 };
    return this.ask("answers", asked);
  };
  begin = () =>
    this.work(async (late) => {
      const begun = await this.ask("begin", {});
      if (late()) return {};
      // who may not train sees what others have trained
      const made = begun.error ? aRun(await this.things()) : null;
      if (begun.error && !made) return { error: begun.error };
      const { records, error } = await this.ask("records", { dataset_id: begun.dataset_id || "", count: 1 });
      if (error || late()) return { error };
      this.setState({ record: records[0] });
      this.state.record = records[0];
      const before = await this.greedy("starter");
      if (before.error || late()) return { error: before.error };
      this.setState({ before: before.lanes.greedy.text });
      const model_id = made || (await this.trained(begun.run_id, late));
      if (typeof model_id !== "string") return model_id;
      const after = await this.greedy(model_id);
      if (after.error || late()) return { error: after.error };
      this.props.done();
      return { after: after.lanes.greedy.text, model_id };
    });
  /** The id of the run's model, or the new state where there is none. */
  trained = async (run_id, late) => {
    const ended = await followed(this, [run_id], late, ([run]) => this.setState({ run }));
    return ended?.runs ? ended.runs[0].model_id : { error: ended?.error };
  };
  arena = () => {
    L.wanted.model = { tuned: this.state.model_id, base: "starter", messages: this.state.record.prompt };
    L.openPanel("arena");
    L.tell("try-model", L.wanted.model);
  };
  render(_props, { record, before, after, run, error, busy, model_id }) {
    const told = (key, words) => said(t(key), words);
    return h(
      "div",
      { class: "lesson-start" },
      record || busy ? null : L.button(t("lesson_start_go"), this.begin, "strong", { id: "lesson-start" }),
      record ? told("lesson_start_prompt", record.prompt.at(-1).content) : null,
      before === null ? null : told("lesson_start_before", before),
      busy ? L.progressBar(run?.total_steps ? shareOf([run]) : null, t("lesson_start_training")) : null,
      busy
        ? h("p", { class: "soft", role: "status" }, t(before === null ? "lesson_start_wait" : "lesson_start_training"))
        : null,
      busy && run ? timeLeft([run]) : null,
      after === null ? null : told("lesson_start_after", after),
      after === null ? null : told("lesson_start_wanted", record.answer),
      after === null ? null : h("p", { class: "why" }, t("lesson_start_said")),
      model_id ? L.button(t("lesson_start_arena"), this.arena, "", { id: "lesson-start-arena" }) : null,
      L.notice(error),
      error ? L.button(t("lesson_again"), this.begin, "quiet") : null,
    );
  }
}

// ---- two runs raced
const COLORS = ["var(--greedy)", "var(--topk)"];
/** The race `kind` from the chosen model: its curves as they come; then what `outcome(runs)` measures of the models. */
export class Race extends Asking {
  state = {
    things: null,
    data: "",
    model: "starter",
    runs: null,
    parts: [],
    outcome: null,
    error: null,
    busy: false,
  };
  kind = "";
  go = "lesson_race_go";
  training = "lesson_race_training";
  async componentDidMount() {
    const things = await this.things();
    this.setState({ data: this.of(things), model: this.from(things) });
  }
  /** The data that it learns from unless other data is chosen here. @param {any} things @returns {string} */
  of(things) {
    return newest(things, ["chat"]);
  }
  /** What it starts from unless another model is chosen here. @param {any} things @returns {string} */
  from(things) {
    return lastChosen(things, "starter");
  }
  begin = () =>
    this.work(async (late) => {
      const { data, model } = this.state;
      const begun = await this.ask("race", { kind: this.kind, dataset_id: data, model_id: model });
      if (begun.error || late()) return { error: begun.error };
      this.setState({ parts: begun.runs.map((run) => run.part) });
      const ids = begun.runs.map((run) => run.run_id);
      const ended = await followed(this, ids, late, (runs) => this.setState({ runs }));
      if (!ended || ended.error) return { error: ended?.error };
      return this.outcome(ended.runs);
    });
  curves() {
    const { runs, parts } = this.state;
    const drawn = runs.map((run, n) => ({
      name: t(`lesson_race_${parts[n]}`),
      x: run.curves.loss.step,
      y: run.curves.loss.value,
      color: COLORS[n],
    }));
    return this.drawn(drawn, { label: t("lesson_race_curves") });
  }
  drawn(lines, options) {
    return [legend(lines), plot(lines, [], { xName: t("lesson_step"), empty: t("lesson_race_waiting"), ...options })];
  }
  /** @param {any[]} runs @returns {Promise<any>} */
  async outcome(runs) {
    return { outcome: runs };
  }
  /** @param {any} outcome @returns {any} */
  shown(outcome) {
    return outcome && null;
  }
  render(_props, { things, data, model, runs, outcome, error, busy }) {
    const change = (values) => this.setState({ ...values, runs: null, outcome: null });
    const choose = (value) => change({ data: value });
    return h(
      "div",
      {},
      this.kind !== "facts" && things && !busy ? dataMenu(things, data, choose, ["chat"]) : null,
      things && !busy ? modelMenu(things, model, (value) => change({ model: value }), t("lesson_race_from")) : null,
      busy || outcome
        ? null
        : L.button(t(this.go), this.begin, "strong", { id: `lesson-race-${this.kind}`, disabled: !things }),
      busy ? L.progressBar(runs ? shareOf(runs) : null, t(this.training)) : null,
      busy ? h("p", { class: "soft", role: "status" }, t(this.training)) : null,
      busy && runs ? timeLeft(runs) : null,
      runs ? this.curves() : null,
      outcome ? this.shown(outcome) : null,
      L.notice(error),
    );
  }
}

export class Instructions extends Race {
  kind = "instructions";
  async outcome(runs) {
    const { records, error } = await this.ask("records", { dataset_id: this.state.data, count: 12 });
    if (error) return { error };
    const losses = [];
    for (const model_id of [this.state.model, ...runs.map((run) => run.model_id)]) {
      const found = await this.ask("surprises", { model_id, texts: records });
      if (found.error) return { error: found.error };
      losses.push(mean(found.texts.map((each) => each.mean)));
    }
    return { outcome: losses };
  }
  shown(losses) {
    const names = ["lesson_race_base", "lesson_race_response", "lesson_race_all"];
    const colors = ["--edge", "--greedy", "--topk"];
    return [
      h("h3", {}, t("lesson_race_answers")),
      bars(losses.map((loss, n) => [t(names[n]), loss, L.num(loss, 3), colors[n]])),
      h("p", { class: "soft" }, t("lesson_race_same_measure")),
    ];
  }
}

const KEPT_BACK = [
  ["Norway", "Oslo"],
  ["Poland", "Warsaw"],
  ["Hungary", "Budapest"],
  ["Turkey", "Ankara"],
  ["Finland", "Helsinki"],
  ["Belgium", "Brussels"],
];
const NOWHERE = ["Ostravia", "Kelmund", "Sorvane"];
const capital = (country) => `What is the capital of ${country}?`;

export class Facts extends Race {
  kind = "facts";
  async outcome(runs) {
    const rows = [];
    const texts = KEPT_BACK.map(([country, city]) => ({ prompt: capital(country), answer: city }));
    for (const model_id of [this.state.model, ...runs.map((run) => run.model_id)]) {
      const found = await this.ask("surprises", { model_id, texts });
      if (found.error) return { error: found.error };
      const made = [];
      for (const country of NOWHERE) {
        const asked = { model_id, prompt: capital(country), lanes: ["greedy"], max_new_tokens: 16 };
        const answer = await this.ask("answers", asked);
        if (answer.error) return { error: answer.error };
        made.push(answer.lanes.greedy);
      }
      rows.push({ loss: mean(found.texts.map((each) => each.mean)), made });
    }
    return { outcome: rows };
  }
  shown(rows) {
    const names = ["lesson_race_base", "lesson_race_known", "lesson_race_new"];
    const sure = (lane) => Math.exp(lane.metrics.mean_logprob ?? -Infinity);
    const cells = rows.map(({ loss, made }, n) => [
      t(names[n]),
      L.num(loss, 2),
      L.percent(mean(made.map(sure))),
      made.map((lane) => lane.text.trim().split("\n")[0]).join(" · "),
    ]);
    const heads = [
      "",
      t("lesson_facts_kept"),
      t("lesson_facts_sure"),
      t("lesson_facts_made", { names: NOWHERE.join(", ") }),
    ];
    return [table(heads, cells, t("lesson_facts_title")), h("p", { class: "soft" }, t("lesson_facts_about"))];
  }
}

// ---- preferences
/** DPO's loss of a margin: −log σ(β · Δ). */
export const dpoLoss = (margin, beta) => Math.log1p(Math.exp(-Math.abs(beta * margin))) + Math.max(0, -beta * margin);

export class Preference extends Loss {
  constructor(props) {
    super(props);
    Object.assign(this.state, { chosen: 10, rejected: 10, beta: 1, none: false });
  }
  tasks = () => ["preference"];
  async componentDidMount() {
    const things = await this.things();
    const data = newest(things, ["preference"]);
    data ? this.look({ data }) : this.setState({ none: true, busy: false });
  }
  borrow = async () => {
    const found = await this.ask("pairs", {});
    if (found.error) return this.setState({ error: found.error });
    L.tell("data-changed");
    await this.things();
    this.setState({ none: false });
    this.look({ data: found.dataset_id });
  };
  render() {
    const { things, data, found, error, busy, none, chosen, rejected, beta } = this.state;
    const gains = [chosen, rejected].map((value) => (value - 10) / 2);
    const betas = [0.05, 0.1, 0.5, 1];
    const loss = dpoLoss(gains[0] - gains[1], betas[beta]);
    const curve = Array.from({ length: 41 }, (_, n) => n / 2 - 10);
    const line = {
      name: t("learn_loss"),
      x: curve,
      y: curve.map((margin) => dpoLoss(margin, betas[beta])),
      color: "var(--greedy)",
    };
    return h(
      "div",
      {},
      range(t("lesson_preference_chosen"), chosen, 20, (value) => this.setState({ chosen: value }), L.num(gains[0], 1)),
      range(
        t("lesson_preference_rejected"),
        rejected,
        20,
        (value) => this.setState({ rejected: value }),
        L.num(gains[1], 1),
      ),
      range("β", beta, 3, (value) => this.setState({ beta: value }), L.num(betas[beta], 2)),
      h(
        "p",
        { role: "status" },
        t("lesson_preference_loss", { margin: L.num(gains[0] - gains[1], 1), loss: L.num(loss, 3) }),
      ),
      plot([line], [{ x: gains[0] - gains[1] }], {
        xName: t("learn_margin"),
        xFormat: (x) => L.num(x, 1),
        label: t("lesson_preference_curve"),
      }),
      none ? h("p", {}, t("lesson_preference_none")) : null,
      none ? L.button(t("lesson_preference_borrow"), this.borrow, "", { id: "lesson-pairs" }) : null,
      things
        ? dataMenu({ ...things, datasets: none ? [] : things.datasets }, data, (value) => this.look({ data: value }), [
            "preference",
          ])
        : null,
      waiting(busy),
      !busy && found ? this.numbers() : null,
      L.notice(error),
    );
  }
}
