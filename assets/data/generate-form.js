/* What a model is asked to make: the kind of records, who writes, who judges; the rest behind a fold. Knows no job. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { judgeConfig, judgeFields, judgeHow, judgeState } from "../evaluate/judge-form.js";

const ENDPOINT = "-endpoint-";
const SHOWN = [
  "number",
  "system",
  "temperature",
  "answer_temperature",
  "second_temperature",
  "second_model_id",
  "max_prompt_tokens",
  "max_new_tokens",
  "turns",
  "seed",
  "most_perplexity",
  "perplexity_share",
  "least_grade",
  "template",
  "parallel",
  "url",
  "model",
  "second_model",
];
const field = (label, control, more = null) =>
  h("label", { class: "pick" }, h("span", {}, label, more && L.help(more, label)), control);

const writersOf = (choices) => choices.models.filter((model) => model.ready && model.writes);

/** State of a new form: the defaults of `choices`. */
export const generateState = (choices) => {
  const spec = Object.fromEntries(SHOWN.map((key) => [key, choices.defaults[key]]));
  return {
    spec: { ...spec, kind: "magpie", model_id: "", dataset_id: "" },
    maker: ENDPOINT,
    picked: false, // whether somebody chose who writes
    judge: judgeState(),
    checker: "",
    key: "",
    judgeKey: "",
    open: false,
    takes: null, // {seconds_low, seconds_high, rough}, as the app foretells it
  };
};

/** Puts what is there in the place of what is not. The first model writes until somebody chose, or named a server. */
export const settle = (state, choices) => {
  const { spec } = state;
  const writers = writersOf(choices);
  const stays =
    state.maker === ENDPOINT ? state.picked || spec.url || spec.model : writers.some(({ id }) => id === state.maker);
  if (!stays) state.maker = writers[0]?.id || ENDPOINT;
  if (state.maker !== ENDPOINT) spec.model_id = state.maker;
  const { reads, invents } = choices.kinds[spec.kind];
  const sets = choices.data_sets.filter((each) => reads.includes(each.task)).map((each) => each.dataset_id);
  if (!sets.includes(spec.dataset_id)) spec.dataset_id = (!invents && sets[0]) || "";
};

const takesLine = ({ maker, takes }) => {
  const { seconds_low: low, seconds_high: high, rough } = takes || {};
  const say = (key) => t(key, { low: L.duration(low), high: L.duration(high) });
  const said =
    maker === ENDPOINT ? t("generate_takes_endpoint") : low && say(rough ? "generate_takes_rough" : "generate_takes");
  return said ? h("p", { class: "soft small", id: "generate-takes", role: "status" }, said) : null;
};

/** {spec, key, judge_key} as the app takes them: of the settings those that the kind uses. */
export const generateRequest = (state, choices) => {
  const { kind } = state.spec,
    { judged, reads } = choices.kinds[kind],
    remote = state.maker === ENDPOINT;
  const spec = { ...state.spec };
  if (!remote) for (const key of ["url", "model", "second_model"]) spec[key] = "";
  if (!judged) spec.second_model_id = "";
  if (!reads.length) spec.dataset_id = "";
  const checker = judged && state.checker;
  const asked = checker ? "none" : state.judge.kind;
  const judge = asked === "none" ? null : judgeConfig(state.judge, judged);
  if (!judge || (judged && state.judge.grading !== "absolute")) spec.least_grade = 0;
  return {
    spec: { ...spec, judge, checker: checker || null },
    key: remote ? state.key : "",
    judge_key: asked === "endpoint" ? state.judgeKey : "",
  };
};

/**
 * @param {{state: any, choices: any, busy: boolean, error: any, draw: () => void, start: (event: Event) => void,
 *   act: (name: string, data: object) => Promise<any>}} form
 */
export const generateForm = ({ state, choices, busy, error, draw, start, act }) => {
  const { spec } = state;
  const kind = choices.kinds[spec.kind];
  const set = (key) => (value) => {
    spec[key] = value;
    draw();
  };
  const writers = writersOf(choices);
  const number = (key, more) =>
    field(
      t(`generate_${key}`),
      L.entry({
        id: `generate-${key}`,
        type: "number",
        value: spec[key],
        onchange: (value) => set(key)(Number(value)),
        ...more,
      }),
    );
  const text = (key, more) =>
    field(t(`generate_${key}`), L.entry({ id: `generate-${key}`, value: spec[key], onchange: set(key), ...more }));
  const menu = (key, options, value, onchange) =>
    field(t(`generate_${key}`), L.menu({ id: `generate-${key}`, value, options, onchange }));

  const pickKind = (name) => {
    spec.kind = name;
    settle(state, choices);
    const { judged } = choices.kinds[name];
    if (judged && state.judge.kind === "none")
      Object.assign(state.judge, { kind: writers.length ? "model" : "endpoint", model_id: writers[0]?.id });
    if (!judged && state.judge.kind === "reward") state.judge.kind = "none";
    draw();
  };
  const source = () => {
    const readable = choices.data_sets.filter((each) => kind.reads.includes(each.task));
    const sets = L.setTitles(readable);
    const made = kind.invents ? [["", t("generate_dataset_made")]] : [];
    const none = !made.length && !sets.length ? [["", t("generate_dataset_none")]] : [];
    return menu("dataset", [...made, ...sets, ...none], spec.dataset_id, set("dataset_id"));
  };
  const maker = () => [
    menu(
      "model_id",
      [...writers.map((model) => [model.id, L.clip(model.title, 60)]), [ENDPOINT, t("generate_endpoint")]],
      state.maker,
      (value) => {
        Object.assign(state, { maker: value, picked: true });
        if (value !== ENDPOINT) spec.model_id = value;
        draw();
      },
    ),
    state.maker === ENDPOINT ? endpoint() : null,
  ];
  const endpoint = () => [
    text("url", { type: "url", placeholder: "http://localhost:11434/v1", maxlength: 500 }),
    text("model", { maxlength: 200 }),
    field(
      t("eval_judge_key"),
      L.entry({
        id: "generate-key",
        type: "password",
        autocomplete: "off",
        maxlength: 500,
        value: state.key,
        onchange: (value) => {
          state.key = value;
        },
      }),
    ),
  ];
  const chooser = () => [
    h(
      "div",
      { class: "pair-of" },
      number("answer_temperature", { min: 0, max: 2, step: 0.1 }),
      number("second_temperature", { min: 0, max: 2, step: 0.1 }),
    ),
    spec.dataset_id
      ? menu(
          "checker",
          [["", t("generate_checker_none")], ...choices.checkers.map((each) => [each, t(`eval_checker_${each}`)])],
          state.checker,
          (value) => {
            state.checker = value;
            draw();
          },
        )
      : null,
    checked ? null : judge(judgeFields),
    !checked && state.judge.kind === "model" ? h("p", { class: "soft small" }, t("generate_small_judge")) : null,
  ];
  const judge = (part) =>
    part({
      judge: state.judge,
      choices: kind.judged ? choices : { ...choices, models: choices.models.filter((each) => each.task !== "reward") },
      two: kind.judged,
      needed: kind.judged,
      key: state.judgeKey,
      setKey: (value) => {
        state.judgeKey = value;
      },
      draw,
      act,
      ids: "generate-judge",
      brief: true,
    });
  const checked = kind.judged && state.checker && spec.dataset_id;
  const invents = kind.invents && !spec.dataset_id;
  const rewords = spec.kind === "paraphrases";
  const grades = state.judge.kind !== "none" && (!kind.judged || (state.judge.grading === "absolute" && !checked));
  const further = () =>
    h(
      "details",
      { class: "advanced", open: state.open, ontoggle: (event) => (state.open = event.target.open) },
      h("summary", {}, t("generate_further")),
      h(
        "div",
        { class: "generate" },
        field(
          t("generate_system"),
          h("textarea", {
            id: "generate-system",
            class: "entry",
            rows: 2,
            maxlength: 4000,
            placeholder: t("generate_system_example"),
            value: spec.system,
            onchange: (event) => set("system")(event.target.value),
          }),
        ),
        kind.judged
          ? state.maker === ENDPOINT
            ? text("second_model", { maxlength: 200, placeholder: spec.model })
            : menu(
                "second_model_id",
                [["", t("generate_second_same")], ...writers.map((model) => [model.id, L.clip(model.title, 60)])],
                spec.second_model_id,
                set("second_model_id"),
              )
          : null,
        h(
          "div",
          { class: "pair-of" },
          invents || rewords ? number("temperature", { min: 0, max: 2, step: 0.1 }) : null,
          kind.judged || rewords ? null : number("answer_temperature", { min: 0, max: 2, step: 0.1 }),
          invents ? number("max_prompt_tokens", { min: 8, max: 2048 }) : null,
          number("max_new_tokens", { min: 8, max: 4096 }),
          spec.kind === "magpie" ? number("turns", { min: 1, max: 4 }) : null,
          number("seed", { min: 0 }),
          state.maker === ENDPOINT ? number("parallel", { min: 1, max: 32 }) : null,
        ),
        state.maker === ENDPOINT && invents
          ? menu(
              "template",
              choices.templates.map((name) => [name, name]),
              spec.template,
              set("template"),
            )
          : null,
        h("h4", {}, t("generate_filters")),
        rewords
          ? null
          : h(
              "div",
              { class: "pair-of" },
              number("most_perplexity", { min: 0, step: 0.5 }),
              number("perplexity_share", { min: 0, max: 0.9, step: 0.05 }),
            ),
        kind.judged ? null : judge(judgeFields),
        checked ? null : judge(judgeHow),
        grades ? number("least_grade", { min: 0, max: 5 }) : null,
      ),
    );

  return h(
    "form",
    { class: "generate", onsubmit: start },
    menu(
      "kind",
      Object.keys(choices.kinds).map((name) => [name, t(`generate_kind_${name}`)]),
      spec.kind,
      pickKind,
    ),
    h("p", { class: "soft small" }, t(`generate_about_${spec.kind}`)),
    kind.reads.length ? source() : null,
    maker(),
    number("number", { min: 1, max: choices.most }),
    kind.judged ? chooser() : null,
    further(),
    takesLine(state),
    h("button", { type: "submit", class: "btn strong", id: "generate-start", disabled: busy }, t("generate_go")),
    L.notice(error),
  );
};
