/* The evaluate panel: how an evaluation goes, what came out, record by record; the list; a classifier to try.
 Everything that models or data say goes through text nodes. Knows no form. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { questions } from "./benchmark.js";
import { classified } from "./classes.js";
import { folds } from "./folds.js";
import { againstVotes, judged, votedRecords } from "./judged.js";
import { figures } from "./models.js";
import { records } from "./records.js";
import { rewarded, rewardedRecords } from "./rewards.js";
import { ask, page, parts, state } from "./state.js";
import { strategies, strategyRecords } from "./strategies.js";

/** What was asked, by the result's kind; records that were held out else. */
export const ON = { votes: "eval_on_votes", benchmark: "eval_on_questions" };

const GOING = ["queued", "running", "stopping"];

L.define("evaluate-result", ({ el, server, trigger }) => {
  Object.assign(parts, { main: el, server, trigger });
  if (parts.side) begin();
});
L.define("evaluate-side", ({ el }) => {
  parts.side = el;
  if (parts.main) begin();
});
let timer;
const overview = L.newest((question) => ask("overview", question));
const begin = () => {
  L.hearJobs(["evaluation"], look, parts.main.closest(".tabitem") || parts.main);
  look();
};
const look = async () => {
  clearTimeout(timer);
  const answer = await overview({ evaluation_id: state.id, seen: state.seen, differ: state.differ });
  if (answer.lost) timer = setTimeout(look, 4000);
  else if (answer.error) state.error = answer.error;
  else takeIn(answer);
  draw();
};
const takeIn = (answer) => {
  state.list = answer.evaluations;
  state.error = null;
  const one = answer.evaluation;
  if (!one) return Object.assign(state, { id: null, status: null, result: {}, records: [], seen: null });
  Object.assign(state, { id: one.status.evaluation_id, status: one.status });
  if (one.fresh) Object.assign(state, { seen: one.seen, result: one.result, records: one.records, of: one.of });
};
const choose = (id) => {
  Object.assign(state, { id, seen: null, open: null, all: false, side: 0, klass: null, at: 0.5 });
  look();
};
/* With the evaluation that is shown: another one may be chosen already, and its figures be on the way. */
const act = async (name, data) => {
  const id = state.status.evaluation_id;
  const answer = await ask(name, { evaluation_id: id, ...data });
  if (answer.error) {
    state.error = answer.error;
    return draw();
  }
  if (name === "delete_evaluation") {
    delete state.keys[id];
    if (state.id === id) Object.assign(state, { id: null, seen: null });
  }
  look();
};
L.hear("evaluation-started", ({ id, key }) => {
  if (key) state.keys[id] = key;
  choose(id);
});

const draw = () => {
  if (!state.status) {
    const empty = h("section", { class: "box empty" }, h("h2", {}, t("eval_empty_title")), h("p", {}, t("eval_empty")));
    L.show(parts.main, L.notice(state.error), empty);
    return L.show(parts.side);
  }
  L.show(parts.main, L.notice(state.error), head(), body());
  L.show(parts.side, list());
};

// ---- how it goes
const head = () => {
  const { status } = state,
    going = GOING.includes(status.state),
    titles = status.titles.models || [];
  const name =
    status.kind === "kfold"
      ? t("eval_how_folds")
      : titles.map((title, i) =>
          h(
            "span",
            { class: "side" },
            titles.length > 1 ? h("i", { class: `which ${i ? "second" : "first"}` }) : null,
            " ",
            L.clip(title, 60),
          ),
        );
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "state" },
      h("b", {}, name),
      h(
        "span",
        {},
        state.result.records === undefined
          ? status.titles.data || ""
          : t(ON[state.result.kind] || "eval_on", {
              n: L.int(state.result.records),
              data: status.titles.data || "",
            }),
      ),
      h("span", { class: status.state === "failed" ? "is-failed" : "" }, t(`eval_state_${status.state}`)),
      h(
        "span",
        { class: "acts" },
        going
          ? L.button(t("eval_stop"), () => act("stop_evaluation"), "", {
              "data-key": "stop",
              disabled: status.state === "stopping",
            })
          : [
              status.state === "completed" && !state.result.judge?.error
                ? null
                : [
                    status.judged_by_endpoint ? keyField(status.evaluation_id) : null,
                    L.button(
                      t("eval_resume"),
                      () =>
                        act("resume_evaluation", {
                          judge_key: status.judged_by_endpoint ? state.keys[status.evaluation_id] || "" : "",
                        }),
                      "",
                      { "data-key": "resume" },
                    ),
                  ],
              L.sure(t("eval_delete"), t("eval_delete_sure"), () => act("delete_evaluation")),
            ],
      ),
    ),
    going ? progress(status) : null,
    !going && status.message
      ? L.notice({ message: status.message, hint: status.hint, kind: status.state === "failed" ? "error" : "info" })
      : null,
    (state.result.notes || []).map((note) =>
      L.notice({
        message: t(`eval_note_${noteOf(note.code)}`, figuresOf(note)),
        kind: note.code === "overlap" || note.code === "unknown" ? "error" : "info",
      }),
    ),
  );
};
/* What a judge could not grade was not lacking a right answer. */
const noteOf = (code) => (code === "unchecked" && state.result.judge ? "ungraded" : code);
const figuresOf = (note) =>
  Object.fromEntries(Object.entries(note).map(([key, value]) => [key, Number.isInteger(value) ? L.int(value) : value]));
const keyField = (id) =>
  h("input", {
    class: "entry judge-key",
    type: "password",
    autocomplete: "off",
    maxlength: 500,
    value: state.keys[id] || "",
    "aria-label": t("eval_judge_key"),
    placeholder: t("eval_judge_key_short"),
    "data-key": "judge-key",
    oninput: (event) => {
      state.keys[id] = event.target.value;
    },
  });
const progress = (status) => {
  const now = status.progress || {},
    share = now.total ? (now.number - 1 + (now.done + (now.under_way || 0)) / now.total) / now.phases : null;
  const what =
    status.state === "queued"
      ? status.waits_for
        ? t("eval_waits", { n: status.waits_for })
        : t("eval_waits_turn")
      : now.phase
        ? t(`eval_phase_${now.phase}`, { title: now.title })
        : t("eval_phase_loading");
  return h(
    "div",
    {},
    L.progressBar(share, what),
    h(
      "div",
      { class: "cap" },
      h("span", { role: "status" }, what),
      h(
        "span",
        {},
        [
          now.total ? t("eval_progress", { done: L.int(now.done), total: L.int(now.total) }) : "",
          now.eta_seconds !== null && now.eta_seconds !== undefined
            ? t("eval_left", { time: L.duration(now.eta_seconds) })
            : "",
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
  );
};
const body = () => {
  const { result } = state;
  if (!result.kind) return [];
  if (result.kind === "classify") return classified(result);
  if (result.kind === "kfold") return [folds(result)];
  if (result.kind === "benchmark") return [figures(result), questions(result)];
  if (result.kind === "reward") return [rewarded(result), rewardedRecords(result)];
  if (result.kind === "votes") return [againstVotes(result), votedRecords()];
  if (result.kind === "decoding") return [strategies(result), strategyRecords(result)];
  return [figures(result), result.judge ? judged(result) : null, records(result)];
};

// ---- the list
const list = () =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_list")),
    h(
      "ul",
      { class: "sets" },
      state.list.map((each) =>
        h(
          "li",
          { class: each.evaluation_id === state.id ? "on" : "" },
          h(
            "button",
            {
              type: "button",
              class: "link",
              "aria-current": each.evaluation_id === state.id ? "true" : null,
              "data-key": `open-${each.evaluation_id}`,
              onclick: () => choose(each.evaluation_id),
            },
            L.clip(each.titles.data || "–", 40),
          ),
          h(
            "span",
            { class: "soft n" },
            each.state === "completed" ? L.when(each.created) : t(`eval_state_${each.state}`),
          ),
          h(
            "span",
            { class: "soft about" },
            each.kind === "kfold"
              ? t("eval_how_folds")
              : (each.titles.models || []).map((title, i) =>
                  h(
                    "span",
                    { class: "side" },
                    each.titles.models.length > 1 ? h("i", { class: `which ${i ? "second" : "first"}` }) : null,
                    " ",
                    L.clip(title, 60),
                  ),
                ),
          ),
        ),
      ),
    ),
  );

Object.assign(page, { draw, look });
