/* A standard benchmark: its questions for the form, what came out of them, question by question. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { ntd, table, td, th, tr, wide } from "../lib/table.js";
import { showAll } from "./record-table.js";
import { state as panel } from "./state.js";

// What Gradio's upload button has read is told to the form.
L.define("evaluate-benchmark", ({ el, props, watch }) => {
  L.show(el);
  watch("value", () => props.value && L.tell("benchmark-read", props.value));
});

/** The ways to evaluate. @returns {[string, string][]} */
export const ways = (classify, rewards, votes) => {
  const keys = classify ? ["models", "folds"] : ["models", "lanes", "benchmark"];
  const words = { models: classify ? "eval_how_models" : "eval_how_two" };
  return [...keys, ...(rewards ? ["rewards"] : []), ...(votes ? ["votes"] : [])].map((key) => [
    key,
    t(words[key] || `eval_how_${key}`),
  ]);
};

/** What stands there while the app has no data set; a benchmark needs none. @param {() => void} choose */
export const noData = (choose) => [
  h("p", { class: "soft" }, t("eval_no_data")),
  L.button(t("eval_how_benchmark"), choose, "quiet", { id: "evaluate-benchmark-alone" }),
];

/** Reads what the field names, by the app's own look. @param {any} state @param {any} server @param {() => void} draw
 * @param {(error: any) => void} fail */
export const lookUp = async (state, server, draw, fail, source) => {
  Object.assign(state, { source, benchmark: null });
  draw();
  if (!source) return;
  const answer = await L.ask(server, "benchmark", { source });
  if (state.source !== source) return; // another one was named meanwhile
  if (!answer.error) state.benchmark = answer;
  fail(answer.error);
};

/** What the app is asked for. @param {any} state the form's */
export const ofBenchmark = (state) => ({
  benchmark: state.benchmark,
  key: "",
  model_ids: [state.first, state.second].filter(Boolean),
  ...(state.settings.limit ? { limit: state.settings.limit } : {}),
});

/**
 * Which of the questions are asked: lm-eval takes the first of each of its tasks.
 * @param {any} read
 * @returns {string}
 */
export const limitWords = (read) => (read?.shape === "lm_eval" ? "eval_bench_first" : "eval_bench_limit");

/** The form's fields. @param {any} state {source, benchmark} @param {(source: string) => void} look */
export const benchmarkFields = (state, look) => {
  const read = state.benchmark;
  return h(
    "div",
    { class: "benchmark-fields" },
    h("p", { class: "soft summary" }, t("eval_bench_about")),
    h(
      "label",
      { class: "pick wide" },
      h("span", {}, t("eval_bench_source")),
      L.entry({
        id: "evaluate-benchmark-source",
        value: state.source,
        maxlength: 500,
        placeholder: "allenai/ai2_arc:ARC-Easy",
        onchange: (value) => look(value.trim()),
      }),
    ),
    read
      ? h(
          "p",
          { class: "summary", role: "status" },
          t(read.shape === "lm_eval" ? "eval_bench_task" : "eval_bench_read", {
            name: read.name,
            shape: t(`eval_bench_${read.shape}`),
            n: L.int(read.count),
          }),
        )
      : null,
  );
};

const FIRST = 50;
const MARKS = { acc: "eval_f_acc", acc_norm: "eval_f_acc_norm", strict: "eval_f_strict", flexible: "eval_f_flexible" };

/** Each question with what each model said. @param {any} result */
export const questions = (result) => {
  const keys = Object.keys(MARKS).filter((key) => panel.records[0]?.[key]);
  const shown = panel.all ? panel.records : panel.records.slice(0, FIRST);
  const marked = (record, side) =>
    keys.map((key) => h("span", { class: "soft small" }, ` ${record[key][side] ? "✓" : "✗"} ${t(MARKS[key])}`));
  return h(
    "section",
    { class: "box questions" },
    h("h2", {}, t("eval_records")),
    wide(
      table(
        { class: "records" },
        [
          ["eval_col_row", "eval_col_prompt", "eval_reference"].map((key) => th(t(key))),
          result.models.map((model) => th(L.clip(model.title, 26))),
        ],
        shown.map((record) =>
          tr(
            ntd(L.int(record.row)),
            td(record.prompt),
            td(record.reference),
            record.said.map((text, side) => td(L.clip(text, 140), h("br", {}), marked(record, side))),
          ),
        ),
      ),
    ),
    showAll(panel.records.length, shown.length, ""),
  );
};
