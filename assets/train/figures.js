/* A run's figures as charts on one axis: which belong together, their names, units and colours. Knows series by name
 ({metric: {step, seconds, value}}) and nothing of how runs are asked for. */
import { plots } from "../lib/chart/lines.js";
import * as L from "../lib/format.js";
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";
import { hacking } from "./hacking.js";
import { overfitting } from "./overfitting.js";

const BLUE = "var(--greedy)",
  AMBER = "var(--topk)",
  GREEN = "var(--topp)",
  PINK = "var(--beam)";
const PALETTE = [BLUE, AMBER, GREEN, PINK, "var(--ink)", "var(--soft)"];
const share = (v) => L.percent(v, 1),
  power = (v) => (v ? v.toExponential(1) : "0");
const small = (v) => L.num(v, Math.abs(v) < 1 ? 3 : 2);

/* Groups in the order in which they are drawn; the first is the large one. Each: its name, its metrics
   [name, options], how its values are written. What a task's worker reports besides
   gets a chart of its own. */
/** @type {any[][]} */
const GROUPS = [
  [
    "loss",
    [
      ["loss", { faint: true, word: "plot_raw" }],
      ["loss_smoothed", { word: "plot_smooth" }],
      ["eval_loss", { color: AMBER, dots: true, word: "plot_eval" }],
      ["eval_forgetting_loss", { color: PINK, dots: true }],
    ],
  ],
  [
    "scores",
    [
      ["eval_accuracy", { dots: true }],
      ["eval_f1_macro", { color: AMBER, dots: true }],
      ["eval_f1", { color: GREEN, dots: true }],
      ["eval_roc_auc", { color: PINK, dots: true }],
    ],
    share,
    [0, 1],
  ],
  [
    "reward",
    [
      ["reward", { word: "plot_train" }],
      ["eval_reward", { color: AMBER, dots: true, word: "plot_eval" }],
      ["eval_held_out_check", { color: PINK, dots: true }],
    ],
    share,
    [0, 1],
  ],
  ["solved", [["solved", {}]], share, [0, 1]],
  ["learned", [["learned", {}]], share, [0, 1]],
  [
    "reward_accuracy",
    [
      ["reward_accuracy", { word: "plot_train" }],
      ["eval_reward_accuracy", { color: AMBER, dots: true, word: "plot_eval" }],
    ],
    share,
  ],
  [
    "reward_margin",
    [
      ["reward_margin", { word: "plot_train" }],
      ["eval_reward_margin", { color: AMBER, dots: true, word: "plot_eval" }],
    ],
    small,
  ],
  [
    "kl",
    [
      ["kl", { word: "plot_train" }],
      ["eval_kl", { color: AMBER, dots: true, word: "plot_eval" }],
    ],
    small,
  ],
  ["entropy", [["entropy", {}]], small],
  [
    "answer_length",
    [
      ["answer_length", { word: "plot_train" }],
      ["eval_answer_length", { color: AMBER, dots: true, word: "plot_eval" }],
    ],
    small,
  ],
  ["perplexity", [["eval_perplexity", { color: AMBER, dots: true }]], (v) => L.num(v, 2)],
  ["learning_rate", [["learning_rate", {}]], power],
  ["grad_norm", [["grad_norm", {}]], small],
  ["tokens_per_second", [["tokens_per_second", {}]], L.int],
  ["memory_bytes", [["memory_bytes", {}]], L.bytes],
  [
    "energy",
    [
      ["energy", { color: GREEN, word: "plot_energy" }],
      ["overlap", { color: AMBER, word: "plot_overlap" }],
    ],
    share,
  ],
];
const known = new Set(GROUPS.flatMap(([, metrics]) => metrics.map(([name]) => name)));
const named = (key) =>
  t(`metric_${key}`) === `metric_${key}` ? key.replace(/^eval_/, "").replace(/_/g, " ") : t(`metric_${key}`);
const others = (series) =>
  Object.keys(series)
    .filter((name) => !known.has(name))
    .map((name) => [name, [[name, { dots: name.startsWith("eval_") }]], small]);
const x = (curve, over) => (over === "step" ? curve.step : curve.seconds);

/* Where answers earn rewards, these are what is looked at first, and the loss says little. */
const groupsOf = (series) => {
  /** @param {any[]} group */
  const rank = ([key]) => (series.reward && ["reward", "solved"].includes(key) ? 0 : 1);
  return [...GROUPS].sort((a, b) => rank(a) - rank(b));
};

// Of one run: every metric with its own colour.
/** @returns {any[]} */
const ofOne = (series, over) =>
  [...groupsOf(series), ...others(series)]
    .map(([key, metrics, yFormat, limits]) => ({
      title: named(key),
      label: named(key),
      yFormat,
      limits: limits && metrics.some(([name]) => series[name]) ? limits : null,
      key,
      lines: metrics
        .filter(([name]) => series[name])
        .map(([name, options]) => {
          const word = options.word ? t(options.word) : named(name);
          return {
            x: x(series[name], over),
            y: series[name].value,
            name: word,
            short: metrics.length > 1 ? word : "",
            color: BLUE,
            ...options,
          };
        }),
    }))
    .filter((each) => each.lines.length);

// Of several: one colour a run, the first metric of a group that there is, and held-out figures as dots.
const ofMany = (runs, over) => {
  const all = Object.assign({}, ...runs.map((run) => run.series));
  return [...GROUPS, ...others(all)]
    .map(([key, metrics, yFormat]) => ({
      title: named(key),
      label: named(key),
      yFormat,
      key,
      lines: runs.flatMap((run, i) => {
        const color = PALETTE[i % PALETTE.length],
          dash = i >= PALETTE.length ? "6 4" : null;
        const drawn = metrics.filter(([name, options]) => run.series[name] && !options.faint);
        const lines = drawn.filter(([, options]) => !options.dots).slice(0, 1),
          dots = drawn.filter(([, options]) => options.dots).slice(0, 1);
        return [...lines, ...dots].map(([name, options]) => ({
          x: x(run.series[name], over),
          y: run.series[name].value,
          color,
          dash,
          dots: options.dots,
          name: options.dots ? `${run.name} · ${options.word ? t(options.word) : named(name)}` : run.name,
        }));
      }),
    }))
    .filter((each) => each.lines.length);
};

/**
 * How far a run's model is, as [word, figure] of the last step and of what is held out: losses, or where answers earn
 * rewards the rewards, as the loss says nothing there. What is not known is left out.
 * @param {{loss?: number | null, eval_loss?: number | null, scores?: Record<string, number> | null}} status
 * @param {Record<string, {value: number[]}>} [series] @returns {[string, string][]}
 */
export const standing = ({ loss, eval_loss: held, scores }, series = {}) => {
  const earns = scores?.reward !== undefined;
  const [last, kept, say] = earns ? [series.reward?.value.at(-1), scores.reward, share] : [loss, held, L.num];
  /** @type {[string, number | null | undefined][]} */
  const both = [
    [earns ? "metric_reward" : "train_loss", last],
    [earns ? "train_reward_held_out" : "train_held_out", kept],
  ];
  return both.flatMap(([word, value]) => (value === null || value === undefined ? [] : [[t(word), say(value)]]));
};

/* What the last shaded stretch is, in a sentence; "" without one. */
const told = (spans) => {
  const span = spans[spans.length - 1];
  if (!span) return "";
  const [from, to] = span.step.map(L.int);
  const [held_from, held_to, train_from, train_to] = [...span.held, ...span.train].map((loss) => L.num(loss));
  return t("overfitting_note", { from, to, held_from, held_to, train_from, train_to });
};

/* Where a reward is won without right answers, in a sentence; "" where not. */
const hacked = (series) => {
  const found = hacking(series);
  if (!found) return "";
  const [from, to, check_from, check_to] = [...found.reward, ...found.check].map(share);
  return t("hacked_note", { from, to, check_from, check_to });
};

/* The charts and their legend. runs: [{name, series}], one, or several to compare. options: {over: "step"|"seconds",
   total (steps), all (every figure, not the first chart alone)}. `overfits` and
   `hacked`: a sentence where one run does, or where its reward is won without right answers. */
export const figures = (runs, { over, total, all }) => {
  const one = runs.length === 1 ? runs[0] : null,
    charts = one ? ofOne(one.series, over) : ofMany(runs, over);
  const energy = one?.series.energy;
  if (energy && charts.length && charts[0].key === "loss")
    charts[0].marks = energy.step.map((step, i) => ({
      x: x(energy, over)[i],
      label: L.percent(energy.value[i]),
      text: `${t("plot_refresh")}: ${L.percent(energy.value[i])}`,
    }));
  const spans = one ? overfitting(one.series.eval_loss, one.series.loss_smoothed) : [];
  if (charts[0]?.key === "loss")
    charts[0].bands = spans.map((span) => ({
      from: x(span, over)[0],
      to: x(span, over)[1],
      text: t("plot_overfitting"),
    }));
  const drawn = plots(all ? charts : charts.slice(0, 1), {
    xName: over === "step" ? t("plot_step") : "",
    xFormat: over === "step" ? L.int : L.duration,
    xMax: over === "step" ? total : 0,
    empty: t("plot_empty"),
    label: t("figures_label"),
  });
  const line = (color, text) =>
      h("span", { class: "key" }, h("i", { class: "dash", style: `background:${color}` }), text),
    dot = (color, text) => h("span", { class: "key" }, h("i", { class: "dot", style: `border-color:${color}` }), text);
  const keys = !one
    ? runs.map((run, i) => line(PALETTE[i % PALETTE.length], run.name))
    : (charts[0]?.lines || [])
        .filter((each) => !each.faint)
        .map((each) => (each.dots ? dot(each.color, each.name) : line(each.color, each.name)))
        .concat(
          charts[0]?.marks?.length
            ? [h("span", { class: "key" }, h("i", { class: "tickmark" }), t("plot_refresh"))]
            : [],
          spans.length ? [h("span", { class: "key" }, h("i", { class: "bandmark" }), t("plot_overfitting"))] : [],
        );
  return {
    plots: drawn,
    keys,
    more: charts.slice(1).map((each) => each.title),
    overfits: told(spans),
    hacked: one ? hacked(one.series) : "",
  };
};
