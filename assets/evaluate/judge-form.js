/* The fields of a judge: who, in which form, by what criteria. Knows no evaluation. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

/** @returns {any} */
export const judgeState = () => ({ kind: "none", grading: "scores", form: "prometheus", reference: true });

/** What of `judge` the app is told: `two` answers, or one, which can only be graded by itself. */
export const judgeConfig = (judge, two) => {
  const { kind, model_id, url, model, form, criteria, reference } = judge;
  const one = kind === "endpoint" ? { kind, url, model } : { kind, model_id };
  if (kind === "reward") return one;
  const grading = two ? judge.grading : "absolute";
  const asked = criteria ? { ...one, criteria } : one;
  if (grading === "scores") return asked;
  const shape = { ...asked, grading, form: grading === "absolute" ? form : "prometheus", reference };
  return grading === "absolute" && judge.rubric ? { ...shape, rubric: judge.rubric } : shape;
};

const select = (label, options, value, onchange, id) => L.labelled(label, L.menu({ id, options, value, onchange }));
const entry = (label, value, take, more = {}) =>
  L.labelled(label, L.entry({ value: value ?? "", onchange: take, ...more }));

/**
 * @param {{judge: any, choices: any, two: boolean, needed?: boolean, key: string, setKey: (key: string) => void,
 *   alone?: boolean, draw: () => void, act: (name: string, data: object) => Promise<any>, ids?: string,
 *   brief?: boolean}} form needed: whether there must be a judge; alone: one that grades each answer by itself;
 *   brief: how it judges is asked elsewhere (judgeHow); ids: what the fields' ids begin with, "judge" unless given
 */
export const judgeFields = (form) => {
  const { judge, choices, draw } = form;
  const models = choices.models.filter((model) => model.ready && model.writes),
    rewards = choices.models.filter((model) => model.ready && model.task === "reward");
  const kinds = ["none", "model", "endpoint", "reward"].filter(
    (kind) => (kind !== "none" || !form.needed) && (kind !== "reward" || (rewards.length && !form.alone)),
  );
  return h(
    "div",
    { class: "judge" },
    h("div", { class: "setting-name" }, h("span", {}, t("eval_judge")), L.help(t("eval_judge_help"), t("eval_judge"))),
    L.choice(
      t("eval_judge"),
      kinds.map((kind) => [kind, t(`eval_judge_${kind}`)]),
      judge.kind,
      (value) => {
        judge.kind = value;
        const known = (list) => (list.some((model) => model.id === judge.model_id) ? judge.model_id : list[0]?.id);
        if (value === "model") judge.model_id = known(models);
        if (value === "reward") judge.model_id = known(rewards);
        draw();
      },
    ),
    judge.kind === "none" ? null : h("div", { class: "judge-fields" }, who(form, models, rewards)),
    form.brief ? null : judgeHow(form),
  );
};

const who = ({ judge, key, setKey, draw, ids = "judge" }, models, rewards) => {
  const change = (name) => (value) => {
    judge[name] = value;
    draw();
  };
  if (judge.kind !== "endpoint") {
    const list = judge.kind === "model" ? models : rewards;
    return select(
      t("eval_first"),
      list.map((model) => [model.id, model.title]),
      judge.model_id,
      change("model_id"),
      `${ids}-local`,
    );
  }
  return [
    entry(t("eval_judge_url"), judge.url, change("url"), {
      type: "url",
      placeholder: "http://localhost:11434/v1",
      maxlength: 500,
      id: `${ids}-url`,
    }),
    entry(t("eval_judge_name"), judge.model, change("model"), { maxlength: 200, id: `${ids}-model` }),
    entry(t("eval_judge_key"), key, setKey, {
      type: "password",
      autocomplete: "off",
      maxlength: 500,
      id: `${ids}-key`,
    }),
  ];
};

/** How the judge of the same `form` is asked: grading, criteria, rubric; nothing where there is none to ask. */
export const judgeHow = (form) => {
  const { judge, choices, two, draw, ids = "judge" } = form;
  if (["none", "reward"].includes(judge.kind)) return null;
  const grading = two ? judge.grading : "absolute";
  const change = (name) => (value) => {
    judge[name] = value;
    draw();
  };
  return [
    h(
      "div",
      { class: "setting-name judge-how" },
      h("span", {}, t("eval_grading")),
      L.help(t("eval_grading_help"), t("eval_grading")),
    ),
    two
      ? L.choice(
          t("eval_grading"),
          ["scores", "absolute", "relative"].map((each) => [each, t(`eval_grading_${each}`)]),
          grading,
          change("grading"),
        )
      : h("p", { class: "soft" }, t("eval_grading_absolute")),
    h(
      "div",
      { class: "judge-fields" },
      grading === "absolute"
        ? select(
            t("eval_judge_form"),
            ["prometheus", "phudge"].map((each) => [each, t(`eval_judge_form_${each}`)]),
            judge.form,
            change("form"),
            `${ids}-form`,
          )
        : null,
      kept(form),
      h(
        "div",
        { class: "judge-criteria" },
        entry(t("eval_criteria"), judge.criteria || choices.criteria, change("criteria"), {
          maxlength: 2000,
          id: `${ids}-criteria`,
        }),
      ),
    ),
    grading === "scores" || (form.needed && !form.alone)
      ? null
      : h(
          "label",
          { class: "chip judge-reference" },
          h("input", {
            type: "checkbox",
            checked: judge.reference,
            onchange: (event) => change("reference")(event.target.checked),
          }),
          h("span", {}, t("eval_judge_reference")),
        ),
    grading === "absolute" ? rubric(form) : null,
  ];
};

/* Criteria of one's own: a menu of what is kept. */
const kept = ({ judge, choices, draw, ids = "judge" }) => {
  if (!choices.rubrics.length) return null;
  const take = (name) => {
    const one = choices.rubrics.find((each) => each.name === name);
    Object.assign(judge, { kept: name, criteria: one?.criteria, rubric: one?.rubric });
    draw();
  };
  const names = choices.rubrics.map((each) => [each.name, each.name]);
  return select(t("eval_rubric_kept"), [["", t("eval_rubric_usual")], ...names], judge.kept || "", take, `${ids}-kept`);
};

const rubric = ({ judge, choices, draw, act, ids = "judge" }) => {
  const scores = judge.rubric || choices.scores;
  const write = (place) => (value) => {
    judge.rubric = scores.map((text, i) => (i === place ? value : text));
    draw();
  };
  const keep = async (name, data) => {
    const answer = await act(name, data);
    if (answer.error) return;
    choices.rubrics = answer.rubrics;
    judge.kept = name === "keep_rubric" ? data.name : "";
    judge.name = "";
    draw();
  };
  return h(
    "details",
    {
      class: "advanced rubric",
      open: judge.open,
      ontoggle: (event) => {
        judge.open = event.target.open;
      },
    },
    h("summary", {}, t("eval_rubric")),
    h(
      "div",
      { class: "rubric-scores" },
      scores.map((text, place) =>
        entry(t("eval_rubric_score", { n: place + 1 }), text, write(place), {
          maxlength: 2000,
          id: `${ids}-score-${place + 1}`,
        }),
      ),
    ),
    h(
      "div",
      { class: "rubric-keep" },
      entry(
        t("eval_rubric_name"),
        judge.name,
        (value) => {
          judge.name = value;
          draw();
        },
        { maxlength: 80, id: `${ids}-rubric-name` },
      ),
      L.button(t("eval_rubric_keep"), () =>
        keep("keep_rubric", {
          name: judge.name || judge.kept || "",
          criteria: judge.criteria || choices.criteria,
          rubric: scores,
        }),
      ),
      judge.kept
        ? L.sure(t("eval_delete"), t("eval_rubric_sure"), () => keep("drop_rubric", { name: judge.kept }))
        : null,
    ),
  );
};

/* Which of the class's votes a judge is held against. */
export const votePick = (state, id, draw) =>
  select(
    t("eval_votes_of"),
    state.choices.votes.map((each) => [each.session_id, `${each.title || "–"} · ${L.when(each.opened)}`]),
    id,
    (chosen) => {
      state.vote = chosen;
      draw();
    },
    "evaluate-vote",
  );
