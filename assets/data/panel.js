/* The data panel: a record as the model will see it, what was found, numbers, the list of data sets.
 Everything from a data set goes through text nodes. Knows no other panel. */
import * as L from "../lib/page.js";
import { dataSets, findings, labels, learnsFrom, numbers } from "./findings.js";
import { recordBox } from "./record.js";
import { h, t } from "../lib/page.js";

L.define("heading", ({ el, props }) => L.show(el, h("h2", {}, t(props.value))));
// What may be uploaded; a file that is too large is refused here, before it is sent.
L.define("kinds", ({ el, props }) => {
  const most = props.value,
    size = (bytes) => (bytes >= 2 ** 20 ? `${L.int(bytes / 2 ** 20)} MB` : L.bytes(bytes)),
    said = h("div", { class: "too-large" });
  L.show(el, h("p", { class: "soft kinds" }, t("data_kinds", { size: size(most) })), said);
  const check = (event, files) => {
    if (!event.target.closest?.("#data-file")) return;
    L.show(said);
    const large = [...(files || [])].find((file) => file.size > most);
    if (!large) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === "change") event.target.value = "";
    L.show(
      said,
      L.notice({
        message: t("data_too_large", { name: large.name, size: size(large.size), most: size(most) }),
        hint: t("data_too_large_hint"),
      }),
    );
  };
  document.addEventListener("change", (event) => check(event, event.target.files), true);
  document.addEventListener("drop", (event) => check(event, event.dataTransfer?.files), true);
});

L.define("working", ({ el, props, watch, trigger }) => {
  const draw = () => {
    const work = props.value || {};
    if (!work.name) return L.show(el);
    const share = work.share ?? null;
    L.show(
      el,
      h(
        "div",
        { class: "box" },
        h(
          "div",
          { class: "stripline" },
          h("span", { role: "status" }, t("data_reading", { name: work.name })),
          h(
            "span",
            { class: "soft n" },
            [share === null ? "" : L.percent(share), work.what].filter(Boolean).join(" · "),
          ),
          L.button(t("data_stop"), () => trigger("click")),
        ),
        h(
          "div",
          {
            class: "progress",
            role: "progressbar",
            "aria-label": t("data_reading", { name: work.name }),
            "aria-valuemin": 0,
            "aria-valuemax": 100,
            "aria-valuenow": share === null ? null : Math.round(share * 100),
          },
          h("i", { class: share === null ? "unsure" : "", style: `width:${share === null ? 30 : share * 100}%` }),
        ),
      ),
    );
  };
  watch("value", draw);
  draw();
});

// ---- columns that have to be named by hand
L.define("data-columns", ({ el, props, watch, trigger }) => {
  const draw = () => {
    const asked = props.value || {};
    if (!asked.columns) return L.show(el);
    const chosen = { ...asked.guess };
    let task = asked.roles[asked.task] ? asked.task : "chat";
    const menu = (role) =>
      h(
        "label",
        { class: "pick" },
        h("span", {}, t(`data_col_${role}`)),
        h(
          "select",
          {
            onchange: (event) => {
              chosen[role] = event.target.value;
            },
          },
          h("option", { value: "" }, "–"),
          asked.columns.map((column) => {
            const o = h("option", { value: column }, L.clip(column, 60));
            o.selected = chosen[role] === column;
            return o;
          }),
        ),
      );
    const form = () =>
      L.show(
        el,
        h(
          "form",
          {
            class: "box",
            onsubmit: (event) => {
              event.preventDefault();
              trigger("submit", {
                task,
                hub: asked.hub,
                columns: Object.fromEntries(
                  asked.roles[task].map((role) => [role, chosen[role] || ""]).filter(([, column]) => column),
                ),
              });
            },
          },
          h("h2", {}, t("data_columns_of", { name: asked.name })),
          h(
            "div",
            { class: "mapping" },
            h(
              "label",
              { class: "pick" },
              h("span", {}, t("data_kind")),
              h(
                "select",
                {
                  onchange: (event) => {
                    task = event.target.value;
                    form();
                  },
                },
                Object.keys(asked.roles).map((each) => {
                  const o = h("option", { value: each }, t(`data_task_${each}`));
                  o.selected = each === task;
                  return o;
                }),
              ),
            ),
            asked.roles[task].map(menu),
            h("button", { type: "submit", class: "btn strong" }, t("data_columns_use")),
          ),
        ),
      );
    form();
  };
  watch("value", draw);
  draw();
});

// ---- the two halves of the panel share one state
const state = {
  sets: [],
  id: null,
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

L.define("data-report", ({ el, props, watch, server, trigger }) => {
  parts.main = el;
  parts.server = server;
  parts.trigger = trigger;
  watch("value", () => {
    if (props.value?.dataset_id) {
      open(props.value.dataset_id, true);
      L.tell("datasets-changed");
    }
  });
  if (ready()) begin();
});
L.define("data-side", ({ el }) => {
  parts.side = el;
  if (ready()) begin();
});

const begin = async () => {
  Object.assign(state, { ask, fail, draw, open, turn, turnTo, list, leave, trigger: parts.trigger });
  L.hear("preference-added", (id) => open(id, true)); // a pair that was picked in the arena
  L.hear("starter", (starter) => {
    if (starter.state === "ready" && state.id && state.record && !state.record.rows) open(state.id);
  });
  await list();
  if (state.sets.length) open(state.sets[0].dataset_id);
  else draw();
};

const list = async () => {
  const answer = await ask("data_sets");
  if (answer.error) return fail(answer.error);
  state.sets = answer.sets;
};
const leave = async () => {
  Object.assign(state, { report: null, record: null, id: null });
  await list();
  if (state.sets.length) open(state.sets[0].dataset_id);
  else draw();
};
const fail = (error) => {
  state.error = error;
  draw();
};

const open = async (id, fresh) => {
  state.error = null;
  if (fresh || !state.sets.some((set) => set.dataset_id === id)) await list();
  const report = await ask("report", { dataset_id: id });
  if (report.error) return fail(report.error);
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

const show = async (which) => {
  const id = state.id,
    record = await ask("record", { dataset_id: id, loss_on: state.lossOn, ...which });
  if (record.error) return fail(record.error);
  if (state.id !== id) return;
  Object.assign(state, { index: record.index ?? state.index, record, error: null, editing: null });
  draw();
};
const turn = (index) => show({ index });
const turnTo = (place) => show({ place });

const draw = () => {
  const message = state.error ? L.notice(state.error) : null;
  if (!state.report) {
    L.show(
      parts.main,
      message,
      message
        ? null
        : h(
            "section",
            { class: "box empty" },
            h("h2", {}, t("data_empty_title")),
            h("p", {}, t("data_empty")),
            L.button(t("data_sample"), () => document.querySelector("#data-sample")?.click(), "strong"),
            h("p", { class: "soft small" }, t("data_sample_about")),
          ),
    );
    return L.show(parts.side);
  }
  L.keepFocus(parts.main, () => L.show(parts.main, message, titleBox(), recordBox(state), findings(state)));
  L.keepFocus(parts.side, () => L.show(parts.side, numbers(state), labels(state), learnsFrom(state), dataSets(state)));
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
