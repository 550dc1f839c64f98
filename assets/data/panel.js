/* The data panel: a record as the model will see it, what was found, numbers, the list of data sets.
 Everything from a data set goes through text nodes. Knows no other panel. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { findings } from "./findings.js";
import { kinds, labels, learnsFrom, numbers } from "./numbers.js";
import { recordBox } from "./record.js";
import { dataSets } from "./sets.js";

// ---- the two halves of the panel share one state
const state = {
  sets: [],
  id: null,
  asked: null, // the data set that was opened last; its report may still be on the way
  report: null,
  index: 0,
  total: 0,
  lossOn: "response",
  view: "tokens",
  record: null,
  query: "",
  found: null,
  searched: null,
  listed: null,
};
const parts = {};
const ready = () => parts.main && parts.side;
const ask = (name, data) => L.ask(parts.server, name, data);
/* Makes a version, or another data set, and opens it; returns its id, or null where there is none. Not twice while the
   same is under way, as when a button is pressed twice. `made` is called before it is opened. */
const change = L.once(async (name, data, made = () => {}) => {
  const answer = await ask(name, data);
  if (answer.error) return fail(answer.error);
  made();
  L.tell("datasets-changed");
  await open(answer.dataset_id, true);
  return answer.dataset_id;
});

L.define("data-report", ({ el, server, trigger }) => {
  parts.main = el;
  parts.server = server;
  parts.trigger = trigger;
  if (ready()) begin();
});
L.define("data-side", ({ el }) => {
  parts.side = el;
  if (ready()) begin();
});

/* What came of an export: of the data set that was open, so it goes with that one. */
L.define("data-note", ({ el, props, watch }) => {
  parts.note = el;
  watch("value", () => L.show(el, L.notice(props.value)));
});

const begin = async () => {
  Object.assign(state, { ask, change, fail, draw, open, turn, turnTo, list, leave, trigger: parts.trigger });
  // What was added, a pair that was picked in the arena, or what a model or a tool has made.
  for (const made of ["preference-added", "data-made"])
    L.hear(made, (id) => {
      open(id, true);
      L.tell("datasets-changed");
    });
  L.hear("starter", (starter) => {
    if (starter.state === "ready" && state.id && state.record && !state.record.rows) open(state.id);
  });
  await openFirst();
};

const sets = L.newest(() => ask("data_sets"));
const list = async () => {
  const answer = await sets();
  if (answer.error) return fail(answer.error);
  state.sets = answer.sets;
};
/* Unless another one was asked for meanwhile. */
const openFirst = async () => {
  await list();
  if (state.asked) return;
  if (state.sets.length) open(state.sets[0].dataset_id);
  else draw();
};
const leave = async () => {
  Object.assign(state, { report: null, record: null, id: null, asked: null });
  await openFirst();
};
const fail = (error) => {
  state.error = error;
  draw();
};

const open = async (id, fresh) => {
  Object.assign(state, { error: null, asked: id });
  if (fresh || !state.sets.some((set) => set.dataset_id === id)) await list();
  const report = await ask("report", { dataset_id: id });
  if (state.asked !== id) return; // another one was opened meanwhile
  if (report.error) {
    state.asked = state.id; // which is still shown
    L.tell("data-opened", L.wanted.data);
    return fail(report.error);
  }
  if (parts.note) L.show(parts.note);
  Object.assign(state, {
    id,
    report,
    stats: null,
    cost: null,
    filters: null,
    index: 0,
    total: report.info.kept,
    code: "",
    query: "",
    found: null,
    searched: null,
    listed: null,
    record: null,
    editing: null,
  });
  draw();
  const { task, kept, source, parent } = report.info;
  L.wanted.data = { id, task, kept, selected: Boolean(source?.selection), made: Boolean(source?.generated) };
  L.tell("data-opened", L.wanted.data);
  if (fresh && parent) L.tell("version-made", { of: parent, id });
  await turn(0);
  const stats = await ask("stats", { dataset_id: id });
  if (state.id !== id) return;
  if (!stats.error) {
    state.stats = stats;
    draw();
  }
  const cost = await ask("cost", { dataset_id: id });
  if (state.id === id && !cost.error) {
    state.cost = cost;
    draw();
  }
};

const recordOf = L.newest((question) => ask("record", question));
const show = async (which) => {
  const id = state.id,
    record = await recordOf({ dataset_id: id, loss_on: state.lossOn, ...which });
  if (state.id !== id) return;
  if (record.error) return fail(record.error);
  Object.assign(state, { index: record.index ?? state.index, record, error: null, editing: null });
  draw();
};
const turn = (index) => show({ index });
const turnTo = (place) => show({ place });

/* The first screen: what the app is, and one thing to do. */
const welcome = () =>
  h(
    "section",
    { class: "box empty welcome" },
    h("h2", {}, t("welcome_title")),
    h("p", {}, t("welcome_about")),
    L.button(t("welcome_start"), () => L.find("#data-sample")?.click(), "strong", {
      id: "welcome-start",
    }),
    L.button(t("welcome_arena"), () => L.openPanel("arena"), "quiet", { id: "welcome-arena" }),
    h("p", { class: "soft small" }, t("data_sample_about")),
  );

const draw = () => {
  const message = L.notice(state.error);
  document.body.classList.toggle("no-data", !state.report && !message);
  if (!state.report) {
    L.show(parts.main, message || welcome());
    return L.show(parts.side);
  }
  L.show(parts.main, message, titleBox(), recordBox(state), findings(state));
  L.show(parts.side, dataSets(state), numbers(state), labels(state), kinds(state), learnsFrom(state));
};

const titleBox = () => {
  const info = state.report.info;
  return h(
    "div",
    { class: "set-title" },
    h("h2", {}, info.name),
    h(
      "span",
      { class: "soft" },
      [info.shape || info.format, t("data_records", { kept: L.int(info.kept), rows: L.int(info.rows) })]
        .filter(Boolean)
        .join(" · "),
    ),
    L.button(
      t("data_train_on"),
      () => {
        L.tell("train-on", state.id);
        parts.trigger("select", { dataset_id: state.id });
      },
      "strong",
      { id: "data-train-on" },
    ),
  );
};
