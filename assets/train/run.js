/* One run as it goes: state line, loss plot, subspace, samples, memory, queue, all runs. What it shows comes from the
 runs' folders, so any number of pages show the same; it asks when a run has changed and the panel is seen. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { changesBox } from "./changes.js";
import { factsBox, memoryBox } from "./facts.js";
import { figures, standing } from "./figures.js";
import { knowledgeBox } from "./knowledge.js";
import { openerBox, queueBox } from "./queue.js";
import { runsBox } from "./runs.js";
import { roundsBox } from "./rounds.js";
import { samplesBox } from "./samples.js";
import { ask, page, parts, view } from "./state.js";
import { heatBox } from "./subspace.js";

L.define("train-run", ({ el, props, watch, server, trigger }) => {
  watch("value", () => {
    if (props.value?.run_id) choose(props.value.run_id);
  }); // a bundle was opened
  parts.main = el;
  parts.server = server;
  parts.trigger = trigger;
  if (parts.side) begin();
});
L.define("train-side", ({ el }) => {
  parts.side = el;
  if (parts.main) begin();
});

let timer,
  countdown,
  looking = false,
  again = false; // something has changed since it began to look
const begin = () => {
  L.hear("run-started", (id) => {
    choose(id);
  });
  L.hear("bundle-wanted", (id) => parts.trigger("submit", { run_id: id, what: "model" }));
  document.addEventListener("visibilitychange", () => L.visible(parts.main) && look());
  L.whenShown(parts.main, look);
  L.hearJobs(["run"], () => look(), parts.main);
  look();
};
const choose = (id) => {
  Object.assign(view, {
    id,
    run: null,
    seen: null,
    log: null,
    heat: null,
    prompt: 0,
    round: null,
    error: null,
    packing: false,
  });
  look(true);
};

const overview = L.newest((question) => ask("overview", question));
const curves = L.newest((ids) => ask("compare", { run_ids: ids }));
// One look: the list, and the chosen run with its figures if there are new ones.
const look = async (force) => {
  if (looking && !force) return (again = true);
  looking = true;
  again = false;
  clearTimeout(timer);
  const answer = await overview({ run_id: view.id, seen: view.seen });
  looking = false;
  if (answer.error) {
    view.error = answer.error;
  } else {
    view.error = null;
    const id = answer.run_id;
    view.runs = answer.runs;
    if (id !== view.id) Object.assign(view, { id, run: null });
    if (answer.run) {
      view.run = answer.run.figures ? answer.run : { ...view.run, status: answer.run.status };
      view.seen = answer.run.seen;
    } else view.run = null;
  }
  if (comparedGoes()) await compare();
  draw();
  if (answer.lost) timer = setTimeout(look, 4000);
  else if (again) look();
  countDown();
};

/* How long a stop may still take is counted here: the app says it once. */
const countDown = () => {
  clearInterval(countdown);
  const { status } = view.run || {};
  if (status?.state !== "stopping" || !status.stop_seconds_left) return;
  countdown = setInterval(() => {
    status.stop_seconds_left = Math.max(0, status.stop_seconds_left - 1);
    draw();
  }, 1000);
};

// The figures of the ticked runs, again as long as one of them goes.
const compare = async () => {
  const ids = [...view.compared].filter((id) => !view.runs.length || view.runs.some((run) => run.run_id === id));
  view.compared = new Set(ids);
  const answer = ids.length ? await curves(ids) : { runs: [] };
  if (answer.error) view.error = answer.error;
  else Object.assign(view, { curves: answer.runs, differ: answer.settings || {} });
};
const comparedGoes = () => view.runs.some((run) => view.compared.has(run.run_id) && L.ACTIVE.includes(run.state));

const act = async (name, data) => {
  const answer = await ask(name, data);
  if (answer.error) {
    view.error = answer.error;
    draw();
    return null;
  }
  look(true);
  return answer;
};

const draw = () => {
  const { run, error } = view;
  L.show(
    parts.main,
    L.notice(error),
    run
      ? [
          stateBox(run),
          plotBox(run),
          knowledgeBox(run),
          roundsBox(run),
          heatBox(run),
          changesBox(run.status, ask, draw),
          samplesBox(run, view.prompt, choosePrompt),
        ]
      : view.id
        ? null // it is on its way
        : emptyBox(),
    runsBox(),
  );
  L.show(parts.side, run ? [factsBox(run), memoryBox(run)] : null, queueBox(), openerBox());
  L.tell("run-shown", run ? run.status : null);
};
const choosePrompt = (n) => {
  view.prompt = n;
  draw();
};
const emptyBox = () =>
  h("section", { class: "box empty" }, h("h2", {}, t("train_none_title")), h("p", {}, t("train_none")));

// The evaluate panel is made when it is first opened: until then its form finds here what it is asked for.
const evaluate = (model_id, dataset_id) => {
  L.wanted.evaluation = { model_id, dataset_id };
  L.openPanel("evaluate");
  L.tell("evaluate-model", L.wanted.evaluation);
};

/* The arena with the base and the tuned model side by side, on a record that the run held out. */
const tryIt = (run) => {
  const { config = {}, samples = [], status } = run;
  const prompt = samples[Math.min(view.prompt, samples.length - 1)]?.prompt;
  const isNew = config.task === "pretrain"; // a new model has no base to stand beside
  const base = isNew ? undefined : config.model?.id;
  L.wanted.model = { tuned: status.model_id, base, prompt, raw: isNew || config.task === "text" };
  L.tell("try-model", L.wanted.model);
  parts.trigger("select", { model_id: status.model_id });
};

// ---- state line, progress, plot
const stateBox = (run) => {
  const s = run.status,
    active = L.ACTIVE.includes(s.state),
    share = s.total_steps ? Math.min(1, s.step / s.total_steps) : 0,
    waits = active && s.state !== "queued" && !s.step;
  const facts = [];
  if (s.total_steps) facts.push(h("span", {}, t("train_step", { step: L.int(s.step), total: L.int(s.total_steps) })));
  for (const [word, figure] of standing(s, run.series)) facts.push(h("span", {}, `${word} `, h("b", {}, figure)));
  if (active && s.tokens_per_second) facts.push(h("span", {}, t("train_speed", { n: L.int(s.tokens_per_second) })));
  if (active && s.eta_seconds) facts.push(h("span", {}, t("train_left", { time: L.duration(s.eta_seconds) })));
  if (s.state === "stopping" && (s.stop_seconds_left || s.stop_phase === "killing"))
    facts.push(
      h(
        "span",
        {},
        t(s.stop_phase === "asking" || !s.stop_phase ? "train_stop_wait" : `train_stop_${s.stop_phase}`, {
          time: L.duration(s.stop_seconds_left),
        }),
      ),
    );
  else if (active && s.phase && s.phase !== "training") facts.push(h("span", {}, t(`phase_${s.phase}`)));
  const buttons = h(
    "span",
    { class: "acts" },
    s.can_stop
      ? L.button(t("train_stop"), () => act("stop_run", { run_id: s.run_id }), "", {
          id: "train-stop",
          "data-key": "stop",
        })
      : null,
    s.can_resume
      ? L.button(t("train_resume"), () => act("resume_run", { run_id: s.run_id }), "", { "data-key": "resume" })
      : null,
    s.state === "completed" && s.model_id && !["classify", "reward"].includes(run.config?.task)
      ? L.button(t("train_try"), () => tryIt(run), "strong", { id: "train-try", "data-key": "try" })
      : null,
    s.state === "completed" && s.model_id && run.config?.task !== "reward"
      ? L.button(t("eval_start"), () => evaluate(s.model_id, run.config?.dataset?.id), "", {
          id: "train-evaluate",
          "data-key": "evaluate",
        })
      : null,
  );
  const message =
    s.state === "failed"
      ? L.notice({ message: s.message || t(`reason_${s.reason}`), hint: s.hint })
      : s.message && s.state !== "completed" && s.state !== "running"
        ? h("p", { class: "soft small" }, s.message)
        : null;
  return h(
    "section",
    { class: "box", id: "run-state" },
    h(
      "div",
      { class: "state" },
      h("b", { class: `is-${s.state}`, role: "status" }, t(`state_${s.state}`)),
      facts,
      buttons,
    ),
    L.progressBar(waits ? null : share, t(`state_${s.state}`)),
    message,
    (s.notes || []).map((note) => h("p", { class: "soft small" }, note)),
  );
};

const plotBox = (run) => {
  const { name, created } = run.status;
  const own = { run_id: view.id, name, created, series: run.series || {} };
  const others = view.compared.size ? view.curves.filter((each) => each.run_id !== view.id) : [];
  const all = [own, ...others]; // the run that is looked at is always among those compared
  const names = L.distinctNames(all);
  const runs = all.map((each, n) => ({ ...each, name: names[n] }));
  const { plots, keys, more, overfits, hacked } = figures(runs, {
    over: view.over,
    total: run.status.total_steps,
    all: view.all,
  });
  const fold = more.length
    ? L.button(
        t(view.all ? "figures_less" : "figures_more", { n: more.length }),
        () => {
          view.all = !view.all;
          draw();
        },
        "quiet",
        { "data-key": "figures", "aria-expanded": String(view.all), title: more.join(", ") },
      )
    : null;
  return h(
    "section",
    { class: "box" },
    plots,
    overfits ? h("p", { class: "soft small", id: "run-overfits" }, overfits) : null,
    hacked ? h("p", { class: "soft small", id: "run-hacked" }, hacked) : null,
    h(
      "div",
      { class: "cap" },
      h("span", { class: "keys" }, keys),
      h(
        "span",
        { class: "plot-picks" },
        fold,
        L.choice(
          t("train_over"),
          [
            ["step", t("train_steps")],
            ["seconds", t("train_time")],
          ],
          view.over,
          (over) => {
            view.over = over;
            draw();
          },
        ),
      ),
    ),
  );
};

Object.assign(page, { act, choose, compare, draw });
