/* The evaluate panel's form: which models on which held-out records, a judge, or folds. Knows no result. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { partsOf } from "../lib/kept-steps.js";
import { judgeConfig, judgeFields, judgeState, votePick } from "./judge-form.js";
import { besideFirst, modelOf, stepsOf } from "./step-menu.js";
import { benchmarkFields, limitWords, lookUp, noData, ofBenchmark, ways } from "./benchmark.js";
import { strategyConfig, strategyFields, strategyState } from "./strategies-form.js";

L.define("evaluate-form", ({ el, server }) => {
  const state = {
    choices: null,
    dataset_id: null,
    first: null,
    second: null,
    how: "models",
    settings: {},
    strategies: strategyState(),
    judge: judgeState(),
    vote: null,
    key: "",
    source: "",
    benchmark: null,
    folds: 5,
    method: "galore",
    base: "starter",
    like: "",
    open: false,
    busy: false,
    error: null,
  };
  const fail = (error) => {
    state.error = error || null;
    if (state.choices) draw();
    else L.show(el, L.notice(error));
  };
  const set = () => state.choices.data_sets.find((each) => each.dataset_id === state.dataset_id);
  const kind = () => set()?.kind || "answers";
  const fitting = () =>
    state.choices.models.filter(
      (model) =>
        model.ready &&
        (isRewards() ? model.task === "reward" : kind() === "classify" ? model.task === "classify" : model.writes),
    );
  const rewards = () => state.choices.models.some((model) => model.ready && model.task === "reward");
  const isRewards = () => state.how === "rewards" && set()?.task === "preference" && rewards();

  const read = L.newest(() => L.ask(server, "choices"));
  const load = async (datasetId) => {
    const choices = await read();
    if (choices.error) return fail(choices.error);
    state.choices = choices;
    if (datasetId) state.dataset_id = datasetId;
    // Of a tuned model its own run's data; never the newest file, which it may have nothing to do with.
    const own = choices.models.find((model) => model.ready && model.dataset_id)?.dataset_id;
    if (!set()) state.dataset_id = own || choices.data_sets[0]?.dataset_id || null;
    settle();
    draw();
  };
  // The base against the newest tuned one, also one that comes later, unless something else ("": nothing) was chosen.
  const settle = () => {
    const models = fitting(),
      known = (id) => modelOf(models, id),
      runs = models.filter((model) => model.id.startsWith("run-")),
      tuned = runs.find((model) => model.dataset_id === state.dataset_id) || runs[0];
    if (!known(state.first))
      state.first =
        (kind() === "classify" ? models[0] : models.find((model) => model.id === "starter") || models[0])?.id || null;
    if (state.second !== "" && (!known(state.second) || state.second === state.first))
      state.second = kind() === "classify" ? "" : tuned && tuned.id !== state.first ? tuned.id : null;
    if (!bases().some((model) => model.id === state.base)) state.base = bases()[0]?.id || "starter";
  };

  const select = (label, options, value, onchange, id) => L.labelled(label, L.menu({ id, options, value, onchange }));
  const entry = (label, value, take, more = {}) =>
    L.labelled(label, L.entry({ value: value ?? "", onchange: take, ...more }));

  const draw = () => {
    const { choices } = state;
    const without = () => Object.assign(state, { how: "benchmark" }) && (settle(), draw());
    if (!choices.data_sets.length && !isBenchmark()) return L.show(el, noData(without));
    const models = fitting(),
      classify = kind() === "classify",
      votes = isVotes(),
      folds = classify && state.how === "folds",
      lanes = isLanes(),
      bench = isBenchmark(),
      titles = models.map((model) => [model.id, model.title]);
    const sets = L.setTitles(choices.data_sets);
    const start = L.button(startWords(folds), begin, "strong go", {
      id: "evaluate-start",
      disabled: state.busy || (!folds && !votes && !models.length) || (bench && !state.benchmark),
    });
    document.body.classList.toggle("asks-benchmark", bench);
    const said = h("p", { class: "soft summary" }, about(folds));
    L.show(
      el,
      h(
        "div",
        { class: `ask ${votes ? "of-vote" : bench ? "of-benchmark" : ""}` },
        bench
          ? null
          : votes
            ? votePick(state, voteId(), draw)
            : select(
                t(folds ? "eval_folds_data" : "eval_data"),
                sets,
                state.dataset_id,
                (id) => {
                  state.dataset_id = id;
                  state.second = null;
                  settle();
                  draw();
                },
                "evaluate-data",
              ),
        ...(votes ? [] : folds ? (like() ? [] : beginning()) : sides(titles)),
        start,
      ),
      kind() !== "perplexity"
        ? h(
            "div",
            { class: "hows" },
            L.choice(
              t("eval_how"),
              ways(classify, set()?.task === "preference" && rewards(), choices.votes.length > 0),
              folds || lanes || votes || bench || isRewards() ? state.how : "models",
              (how) => {
                state.how = how;
                settle();
                draw();
              },
            ),
          )
        : null,
      L.notice(state.error),
      classify && !folds && !votes && !models.length
        ? h("p", { class: "soft summary" }, t("eval_no_classifier"))
        : said,
      votes ? judge(true) : null,
      lanes ? strategyFields(state.strategies, draw) : null,
      graded() ? judge(true, false) : null,
      bench ? benchmarkFields(state, (source) => lookUp(state, server, draw, fail, source)) : null,
      votes ? null : folds ? foldSettings() : settings(lanes || bench),
    );
  };
  const sides = (titles) => {
    const first = (id) => {
      state.first = id;
      settle();
      draw();
    };
    const second = (id) => {
      state.second = besideFirst(fitting(), state.first, id);
      draw();
    };
    const others = titles.filter(([id]) => id !== state.first || stepsOf(modelOf(fitting(), id)).length);
    return [
      select(t("eval_first"), titles, partsOf(state.first).id, first, "evaluate-first"),
      stepField(state.first, first, "evaluate-first-step"),
      select(
        t("eval_second"),
        [["", t("eval_no_second")], ...others],
        partsOf(state.second).id,
        second,
        "evaluate-second",
      ),
      stepField(state.second, second, "evaluate-second-step"),
    ];
  };
  const stepField = (id, take, name) => {
    const steps = stepsOf(modelOf(fitting(), id));
    return steps.length ? select(t("eval_step"), steps, id, take, name) : null;
  };
  // What folds start from and how, unless a run's settings say both.
  const bases = () => state.choices.models.filter((model) => model.ready && model.task !== "classify");
  const beginning = () => [
    select(
      t("eval_fold_base"),
      bases().map((model) => [model.id, model.title]),
      state.base,
      (id) => {
        state.base = id;
      },
      "evaluate-base",
    ),
    h(
      "div",
      { class: "pick method" },
      h("span", {}, t("train_method")),
      L.choice(
        t("train_method"),
        state.choices.methods.map((key) => [key, t(`method_${key}`)]),
        state.method,
        (key) => {
          state.method = key;
        },
      ),
    ),
  ];
  const like = () => state.choices.classifiers.find((run) => run.run_id === state.like);
  const limit = () =>
    state.settings.limit ||
    state.choices.limits[isLanes() ? "decoding" : isBenchmark() ? "benchmark" : isRewards() ? "reward" : kind()];
  const summary = () =>
    t(
      isBenchmark()
        ? limitWords(state.benchmark)
        : isRewards()
          ? "eval_rewards_summary"
          : kind() === "answers"
            ? "eval_summary"
            : "eval_summary_plain",
      {
        n: L.int(limit()),
        tokens: L.int(state.settings.max_new_tokens || 96),
      },
    );
  const startWords = (folds) =>
    state.busy ? t("eval_starting") : folds ? t("eval_folds_start", { n: state.folds }) : t("eval_start");
  const isLanes = () => kind() === "answers" && state.how === "lanes";
  const isBenchmark = () => kind() === "answers" && state.how === "benchmark";
  const isVotes = () => state.how === "votes" && state.choices.votes.length > 0;
  const voteId = () => state.vote || state.choices.votes[0]?.session_id;
  const about = (folds) =>
    isVotes() ? t("eval_votes_about") : folds ? t("eval_folds_about", { n: state.folds }) : summary();
  const number = (key) => (raw) => {
    if (raw.trim() === "") delete state.settings[key];
    else state.settings[key] = Number(raw);
    draw();
  };

  const settings = (lanes) =>
    h(
      "details",
      {
        class: "advanced",
        open: state.open,
        ontoggle: (event) => {
          state.open = event.target.open;
        },
      },
      h("summary", {}, t(kind() === "answers" && !lanes ? "eval_more" : "eval_more_plain")),
      h(
        "div",
        { class: "fields" },
        entry(t("eval_limit"), limit(), number("limit"), {
          type: "number",
          min: 1,
          id: "evaluate-limit",
        }),
        kind() === "answers" && !isBenchmark()
          ? entry(t("eval_new_tokens"), state.settings.max_new_tokens || 96, number("max_new_tokens"), {
              type: "number",
              min: 1,
            })
          : null,
        isBenchmark()
          ? null
          : entry(t("eval_share"), state.settings.eval_share, number("eval_share"), {
              type: "number",
              min: 0.01,
              max: 0.9,
              step: 0.01,
              placeholder: t("eval_share_auto"),
            }),
      ),
      kind() === "answers" && !lanes && !isRewards() ? judge(false) : null,
    );

  const foldSettings = () =>
    h(
      "div",
      { class: "fields" },
      state.choices.classifiers.length
        ? select(
            t("eval_fold_like"),
            [
              ["", t("eval_fold_defaults")],
              ...state.choices.classifiers.map((run) => [run.run_id, L.clip(run.name, 60)]),
            ],
            like()?.run_id || "",
            (id) => {
              state.like = id;
              state.fold_steps = undefined;
              draw();
            },
            "evaluate-like",
          )
        : null,
      entry(
        t("eval_folds"),
        state.folds,
        (raw) => {
          state.folds = Math.max(2, Math.min(20, Math.round(Number(raw)) || 5));
          draw();
        },
        { type: "number", min: 2, max: 20 },
      ),
      entry(
        t("eval_fold_steps"),
        state.fold_steps || like()?.max_steps || state.choices.fold_steps,
        (raw) => {
          state.fold_steps = Number(raw) || undefined;
        },
        { type: "number", min: 1 },
      ),
    );

  const graded = () => isLanes() && state.strategies.checker === "judge";
  const judge = (needed, two = needed || Boolean(state.second)) => {
    if (needed && state.judge.kind === "none") Object.assign(state.judge, { kind: "model", model_id: "starter" });
    return judgeFields({
      judge: state.judge,
      choices: state.choices,
      two,
      needed,
      alone: graded(),
      key: state.key,
      setKey: (key) => {
        state.key = key;
      },
      draw,
      act: async (name, data) => {
        const answer = await L.ask(server, name, data);
        state.error = answer.error || null;
        draw();
        return answer;
      },
    });
  };

  const decoding = () => {
    const config = strategyConfig(state.strategies);
    return { ...config, settings: { ...config.settings, max_new_tokens: state.settings.max_new_tokens || 96 } };
  };
  const wanted = () => (isBenchmark() ? ofBenchmark(state) : ofRecords());
  const ofRecords = () => ({
    dataset_id: state.dataset_id,
    model_ids: [state.first, state.second].filter(Boolean),
    ...state.settings,
    ...(isLanes() ? { decoding: decoding() } : {}),
    ...(state.judge.kind !== "none" && kind() === "answers" && (isLanes() ? graded() : !isRewards())
      ? judging(Boolean(state.second) && !graded())
      : {}),
  });
  const judging = (two) => ({
    judge: judgeConfig(state.judge, two),
    key: state.judge.kind === "endpoint" ? state.key : "",
  });
  const begin = async () => {
    if (state.busy) return;
    state.busy = true;
    draw();
    const folds = kind() === "classify" && state.how === "folds";
    const { key = "", ...config } = isVotes() ? { vote_id: voteId(), ...judging(true) } : wanted();
    const answer = folds
      ? await L.ask(server, "folds", {
          dataset_id: state.dataset_id,
          ...(like() ? { like: state.like } : { model_id: state.base, method: state.method }),
          folds: state.folds,
          max_steps: state.fold_steps,
        })
      : await L.ask(server, "evaluate", { config, judge_key: key });
    state.busy = false;
    fail(answer.error);
    if (answer.error) return;
    L.tell("evaluation-started", { id: answer.evaluation_id, key });
  };

  L.hear("benchmark-read", ({ benchmark, error }) => {
    Object.assign(state, { source: "", benchmark: benchmark || null });
    fail(error);
  });
  for (const told of ["datasets-changed", "starter", "run-ended", "runs-pulse"]) L.hear(told, () => load());
  L.whenShown(el, () => state.choices && load()); // a vote may be there by now
  // A finished run's page asks for its model on what it held out.
  const wish = async ({ model_id, dataset_id }) => {
    L.wanted.evaluation = null;
    el.inert = true; // a press meanwhile would evaluate what stood there before, and a choice be overwritten
    await load(dataset_id);
    el.inert = false;
    Object.assign(state, { second: "", how: "models" });
    if (!state.choices) return; // the app was not reached, which is said
    if (kind() === "classify") state.first = model_id;
    else {
      state.first = fitting()[0]?.id || model_id;
      state.second = model_id === state.first ? "" : model_id;
    }
    settle();
    draw();
    L.find("#evaluate-start")?.focus();
  };
  L.hear("evaluate-model", wish);
  if (L.wanted.evaluation) wish(L.wanted.evaluation);
  else load();
});
