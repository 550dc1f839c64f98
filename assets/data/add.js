/* Adding data: what may be uploaded, how the reading goes, and which column is what where that isn't clear. */
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";
import { watchFiles } from "./drop.js";

L.define("heading", ({ el, props }) => L.show(el, h("h2", {}, t(props.value))));

const size = (bytes) => (bytes >= 2 ** 20 ? `${L.int(bytes / 2 ** 20)} MB` : L.bytes(bytes));

// What may be uploaded; a file that is too large is refused here, before it is sent.
L.define("kinds", ({ el, props }) => {
  const most = props.value;
  const draw = (large) => {
    const names = large && { name: large.name, size: size(large.size), most: size(most) };
    const said = large && { message: t("data_too_large", names), hint: t("data_too_large_hint") };
    L.show(
      el,
      h("p", { class: "soft kinds" }, t("data_kinds", { size: size(most) })),
      h("div", { class: "too-large" }, L.notice(said)),
    );
  };
  watchFiles((files) => {
    const large = files.find((file) => file.size > most);
    draw(large);
    return Boolean(large);
  });
  document.documentElement.style.setProperty("--drop-a-file", JSON.stringify(t("data_drop"))); // for data.css
  draw(null);
});

L.define("working", ({ el, props, watch, trigger }) => {
  const draw = () => {
    const work = props.value || {};
    if (!work.name) return L.show(el);
    const share = work.share ?? null;
    const reading = t("data_reading", { name: work.name });
    const far = [share === null ? "" : L.percent(share), work.what].filter(Boolean).join(" · ");
    L.show(
      el,
      h(
        "div",
        { class: "box" },
        h(
          "div",
          { class: "stripline" },
          h("span", { role: "status" }, reading),
          h("span", { class: "soft n" }, far),
          L.button(t("data_stop"), () => trigger("click")),
        ),
        L.progressBar(share, reading),
      ),
    );
  };
  watch("value", draw);
  draw();
});

/* Which column is what, where the names don't say so. What was chosen stays until the file is read or given up. */
class Columns extends Component {
  constructor(props) {
    super(props);
    const { asked } = props;
    this.state = { task: asked.roles[asked.task] ? asked.task : "chat", chosen: { ...asked.guess }, missing: [] };
  }

  submit(event) {
    event.preventDefault();
    const { asked, trigger } = this.props;
    const { task, chosen } = this.state;
    const roles = asked.roles[task];
    const missing = roles.filter((role) => !chosen[role]);
    this.setState({ missing });
    if (missing.length) return;
    const columns = Object.fromEntries(roles.map((role) => [role, chosen[role]]));
    trigger("submit", { task, hub: asked.hub, columns, asked: { ...asked, guess: columns, task } });
  }

  role(role) {
    const { chosen, missing } = this.state;
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
        "aria-invalid": missing.includes(role) ? "true" : undefined,
      }),
    );
  }

  render({ asked, trigger }, { task, missing }) {
    const kinds = Object.keys(asked.roles).map((each) => [each, t(`data_task_${each}`)]);
    const names = missing.map((role) => t(`data_col_${role}`)).join(", ");
    return h(
      "form",
      { class: "box", onsubmit: (event) => this.submit(event) },
      h("h2", {}, t("data_columns_of", { name: asked.name })),
      L.notice(missing.length ? { message: t("data_columns_missing", { names }) } : null),
      h(
        "div",
        { class: "mapping" },
        h(
          "label",
          { class: "pick" },
          h("span", {}, t("data_kind")),
          L.menu({ value: task, options: kinds, onchange: (kind) => this.setState({ task: kind, missing: [] }) }),
        ),
        asked.roles[task].map((role) => this.role(role)),
        h("button", { type: "submit", class: "btn strong" }, t("data_columns_use")),
        L.button(t("cancel"), () => trigger("click"), "quiet", { id: "data-columns-cancel" }),
      ),
    );
  }
}

L.define("data-columns", ({ el, props, watch, trigger }) => {
  const draw = () => {
    const asked = props.value || {};
    const key = JSON.stringify([asked.name, asked.columns]);
    L.show(el, asked.columns ? h(Columns, { key, asked, trigger }) : null);
  };
  watch("value", draw);
  draw();
});
