/* Adding data: the drop zone, how the reading goes, and which column is what where that isn't clear. */
import * as L from "../lib/panel.js";
import { Component, h, s, t } from "../lib/panel.js";
import { Adding, columnFaults } from "./adding.js";

L.define("heading", ({ el, props }) => L.show(el, h("h2", {}, t(props.value))));

/** What the two islands draw into, as far as they are there. */
const parts = { adding: /** @type {any} */ (null), drop: /** @type {any} */ (null) };
const zone = { most: Infinity, large: /** @type {File | null} */ (null), over: false };

const adding = new Adding({
  draw: () => drawAdding(),
  done: (id) => L.tell("data-made", id),
});

L.define("data-adding", ({ el, props, watch, server }) => {
  parts.adding = el;
  watch("value", () => props.value?.begun && adding.begun(props.value.begun));
  adding.connect(server);
});

L.define("data-drop", ({ el, props }) => {
  parts.drop = el;
  zone.most = props.value;
  drawZone();
});

// ---- files come

/** Files that were dropped or chosen; one that is too large is refused before it is sent. @param {File[]} files */
const receive = (files) => {
  if (!files.length) return;
  zone.large = files.find((file) => file.size > zone.most) || null;
  drawZone();
  if (!zone.large) adding.files(files);
};

const receiveChosen = (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // the same file can be chosen again
  receive(files);
};

/* Also beside the zone and before it is there: the browser would open a file in the page's place. On other panels the
   pointer shows that nothing is taken. */
const isTaken = () => !parts.drop || L.visible(parts.drop);
const hasFiles = (event) => !event.defaultPrevented && Boolean(event.dataTransfer?.types.includes("Files"));
const over = (isOver) => {
  if (zone.over === isOver) return;
  zone.over = isOver;
  drawZone();
};

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (isTaken()) over(true);
  else if (event.dataTransfer) event.dataTransfer.dropEffect = "none";
});
document.addEventListener("dragleave", (event) => !event.relatedTarget && over(false));
document.addEventListener("drop", (event) => {
  over(false);
  if (!hasFiles(event)) return;
  event.preventDefault();
  if (isTaken()) receive([...(event.dataTransfer?.files || [])]);
});

// ---- what is shown

const UP = "M12 16V5m0 0L8 9m4-4 4 4M5 19h14";

const drawZone = () => {
  if (!parts.drop) return;
  const { large, most } = zone;
  const names = large && { name: large.name, size: L.bytes(large.size), most: L.bytes(most) };
  L.show(
    parts.drop,
    h(
      "label",
      { class: `drop${zone.over ? " over" : ""}` },
      s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: UP })),
      h("span", {}, t("data_drop")),
      h("input", { type: "file", class: "unseen", multiple: true, onchange: receiveChosen }),
    ),
    h("p", { class: "soft kinds" }, t("data_kinds", { size: L.bytes(most) })),
    names &&
      h(
        "div",
        { class: "too-large" },
        L.notice({ message: t("data_too_large", names), hint: t("data_too_large_hint") }),
      ),
    L.button(t("data_sample"), () => adding.sample(), "", { id: "data-sample" }),
  );
};

const waits = (item) =>
  h(
    "div",
    { class: "stripline soft small" },
    h("span", {}, t("data_then", { name: item.name })),
    L.button(t("data_stop"), () => adding.drop(item), "quiet", {
      "aria-label": t("data_stop_waiting", { name: item.name }),
    }),
  );

const progress = ({ name, share, what, sending }) => {
  const said = t(sending ? "data_sending" : "data_reading", { name });
  const far = [share === null ? "" : L.percent(share), what].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "box", id: "data-working" },
    h(
      "div",
      { class: "stripline" },
      h("span", { role: "status" }, said),
      h("span", { class: "soft n" }, far),
      L.button(t("data_stop"), () => adding.stop()),
    ),
    L.progressBar(share, said),
    adding.waiting.filter((each) => each.name).map(waits),
  );
};

const drawAdding = () => {
  if (!parts.adding) return;
  L.show(
    parts.adding,
    L.notice(adding.notice),
    adding.now?.name && progress(adding.now),
    h(
      "div",
      { id: "data-columns" },
      adding.forms.map((form) =>
        h(Columns, {
          key: form.key,
          asked: form.asked,
          error: form.error,
          submit: (columns, task) => adding.mapped(form, columns, task),
          leave: () => adding.leave(form),
        }),
      ),
    ),
  );
};

const NO_FAULT = columnFaults([], {});

/* Which column is what, where the names don't say so. What was chosen stays until the file is read or given up. */
class Columns extends Component {
  constructor(props) {
    super(props);
    const { asked } = props;
    this.state = { task: asked.roles[asked.task] ? asked.task : "chat", chosen: { ...asked.guess }, wrong: NO_FAULT };
  }

  submit(event) {
    event.preventDefault();
    const { asked, submit } = this.props;
    const { task, chosen } = this.state;
    const roles = asked.roles[task];
    const wrong = columnFaults(roles, chosen);
    this.setState({ wrong });
    if (wrong.missing.length || wrong.twice.length) return;
    submit(Object.fromEntries(roles.map((role) => [role, chosen[role]])), task);
  }

  role(role) {
    const { chosen, wrong } = this.state;
    const { columns } = this.props.asked;
    const take = (column) => this.setState({ chosen: { ...chosen, [role]: column } });
    return h(
      "label",
      { class: "pick", "data-key": role },
      h("span", {}, t(`data_col_${role}`)),
      L.menu({
        value: chosen[role] || "",
        options: [["", "–"], ...columns.map((column) => [column, L.clip(column, 60)])],
        onchange: take,
        "aria-invalid": [...wrong.missing, ...wrong.twice].includes(role) ? "true" : undefined,
      }),
    );
  }

  fault() {
    const { missing, twice } = this.state.wrong;
    const names = (roles) => roles.map((role) => t(`data_col_${role}`)).join(t("list_comma"));
    if (missing.length) return { message: t("data_columns_missing", { names: names(missing) }) };
    if (!twice.length) return null;
    const column = L.clip(this.state.chosen[twice[0]], 60);
    return {
      message: t("data_columns_twice", { column, names: names(twice) }),
      hint: t("data_columns_twice_hint"),
    };
  }

  render({ asked, error, leave }, { task }) {
    const kinds = Object.keys(asked.roles).map((each) => [each, t(`data_task_${each}`)]);
    return h(
      "form",
      { class: "box", onsubmit: (event) => this.submit(event) },
      h("h2", {}, t("data_columns_of", { name: asked.name })),
      L.notice(this.fault() || (error && { ...error, kind: "ask" })),
      h(
        "div",
        { class: "mapping" },
        L.labelled(
          t("data_kind"),
          L.menu({ value: task, options: kinds, onchange: (kind) => this.setState({ task: kind, wrong: NO_FAULT }) }),
        ),
        asked.roles[task].map((role) => this.role(role)),
        h("button", { type: "submit", class: "btn strong" }, t("data_columns_use")),
        L.button(t("cancel"), leave, "quiet", { id: "data-columns-cancel" }),
      ),
    );
  }
}
