/* What the lessons' views share: fields, menus of the visitor's models and data, tokens, an answer that is waited
   for. Knows no lesson. */
import { keyOf } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";

export const mean = (values) => values.reduce((all, value) => all + value, 0) / Math.max(1, values.length);

/** A slider with what it stands at. */
export const range = (label, value, most, oninput, shown, least = 0) =>
  h(
    "label",
    { class: "lesson-range" },
    h("span", {}, label),
    h("input", {
      type: "range",
      min: least,
      max: most,
      value,
      oninput: (event) => oninput(Number(event.target.value)),
    }),
    h("output", {}, shown),
  );

/** A text field with its name. */
export const text = (label, value, onchange, attributes = {}) =>
  h(
    "label",
    { class: "lesson-field" },
    h("span", {}, label),
    L.entry({ value, onchange, maxlength: 2000, ...attributes }),
  );

export const waiting = (busy) => (busy ? h("p", { class: "soft", role: "status" }, t("lesson_computing")) : null);
export const visible = (words) => words.replace(/ /g, "␣").replace(/\n/g, "↵");
export const said = (name, words, attributes = {}) =>
  h("div", { class: "lesson-said", ...attributes }, h("h3", {}, name), h("p", { class: "prompt" }, words || "∅"));

/** Which line of a chart is which. */
export const legend = (lines) =>
  h(
    "p",
    { class: "soft keys" },
    lines.map((line) => h("span", {}, keyOf(line), " ", line.name, " ")),
  );

/** What may be wider than a phone, and scrolls by itself there. */
export const wide = (label, content) =>
  h("div", { class: "lesson-table", tabindex: 0, role: "group", "aria-label": label }, content);

/** A table: names of columns, then rows of cells; the first cell of a row is its name. */
export const table = (heads, rows, label) =>
  wide(
    label,
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((each) => (each ? h("th", { scope: "col" }, each) : h("td", {}))),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(([first, ...rest]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, first),
            rest.map((each) => h("td", {}, each)),
          ),
        ),
      ),
    ),
  );

/** Shares as bars, from nought; [name, value, text, colour]. */
export const bars = (rows) => {
  const most = Math.max(1e-9, ...rows.map(([, value]) => value || 0));
  const one = ([name, value, shown, color]) =>
    h(
      "li",
      {},
      h("span", {}, name),
      h(
        "span",
        { class: "bar" },
        h("i", { style: `width:${((100 * (value || 0)) / most).toFixed(1)}%;background:var(${color || "--greedy"})` }),
      ),
      h("span", { class: "n" }, shown),
    );
  return h("ol", { class: "lesson-bars" }, rows.map(one));
};

/** Tokens as they stand in a row; `kind` gives a class, `tip` what is told of one. @param {any[]} list
   @param {(token: any) => string} kind @param {(token: any) => string} [tip] */
export const tokens = (list, kind, tip) =>
  h(
    "p",
    { class: "tok" },
    list.map((token) => h("span", { class: `t ${kind(token)}`, title: tip ? tip(token) : null }, visible(token.text))),
  );

/** The newest data set of these tasks, or "" for the sample. */
export const newest = (things, tasks) => things.datasets.find((each) => tasks.includes(each.task))?.id || "";
const isRun = (model) => model.kind === "run";
/** A finished run: the first lesson's, else the newest; or null. */
export const aRun = (things) => things.first || things.models.find(isRun)?.id || null;

let remembered = "";
/** The model that was last chosen in any lesson, where it is still there. @param {any} things @param {string} otherwise
    @returns {string} */
export const lastChosen = (things, otherwise) =>
  things.models.some((each) => each.id === remembered) ? remembered : otherwise;

export const modelMenu = (things, value, onchange, label = t("lesson_model"), only = () => true) =>
  h(
    "label",
    { class: "lesson-field" },
    h("span", {}, label),
    L.menu({
      value,
      onchange: (id) => {
        remembered = id;
        onchange(id);
      },
      options: things.models.filter(only).map((each) => [each.id, each.title]),
      "aria-label": label,
    }),
  );

export const dataMenu = (things, value, onchange, tasks) => {
  const own = things.datasets.filter((each) => tasks.includes(each.task));
  if (!own.length) return null;
  const sample = tasks.includes("chat") ? [["", t("lesson_sample")]] : [];
  const options = [...sample, ...own.map((each) => [each.id, each.name])];
  return h(
    "label",
    { class: "lesson-field" },
    h("span", {}, t("lesson_data")),
    L.menu({ value, onchange, options, "aria-label": t("lesson_data") }),
  );
};

/**
 * A view with an answer of the server in its state: `this.call(name, asked, key)` puts it under `key`, or its error
 * under "error". Answers that come after another was asked for are dropped.
 */
export class Asking extends Component {
  asked = 0;
  gone = false;
  componentWillUnmount() {
    this.gone = true;
  }
  /** What may be chosen, asked for once. */
  async things() {
    const found = await this.ask("things", {});
    const things = found.error ? { models: [{ id: "starter", title: "starter" }], datasets: [], first: null } : found;
    const { model } = /** @type {any} */ (this.state);
    if (!this.gone) this.setState({ things, ...(model ? { model: lastChosen(things, model) } : {}) });
    return things;
  }
  ask = (name, asked) => L.ask(this.props.server, name, asked);
  /** @param {(again: () => boolean) => Promise<any>} work gives the new state, or {error}; `again()`: it is too late */
  async work(work) {
    const turn = ++this.asked;
    const late = () => this.gone || turn !== this.asked;
    this.setState({ busy: true, error: null });
    const found = await work(late);
    if (!late()) this.setState({ busy: false, error: null, ...(found || {}) });
  }
  /** Something else was chosen: an answer on its way is of what was chosen before. @param {any} change */
  anew(change) {
    this.asked += 1;
    this.setState({ busy: false, error: null, ...change });
  }
}

/** A view of one answer that is asked for anew at every change. */
export class Looking extends Asking {
  /** The server's function. */
  call = "";
  /** What it is asked in this state. @param {any} state @returns {any} */
  asking({ model }) {
    return { model_id: model };
  }
  /** Whether all that it asks about is here; what is chosen before that is asked for when it comes.
      @param {any} state @returns {boolean} */
  isReady({ things }) {
    return Boolean(things);
  }
  /** The model that is looked at first. @param {any} things @returns {string} */
  first(things) {
    return lastChosen(things, "starter");
  }
  async componentDidMount() {
    const things = await this.things();
    if (!this.gone) this.look({ things, model: this.first(things) });
  }
  look = (change) => {
    const state = { ...this.state, ...change };
    this.setState(change);
    if (!this.isReady(state)) return null;
    return this.work(async () => {
      const found = await this.ask(this.call, this.asking(state));
      return found.error ? { error: found.error, found: null } : { found };
    });
  };
  models() {
    const { things, model } = /** @type {any} */ (this.state);
    return things ? modelMenu(things, model, (value) => this.look({ model: value })) : null;
  }
}
