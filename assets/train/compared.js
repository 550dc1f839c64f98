/* A run's own name and note, and in what compared runs differ. Knows no server: run.js gives it what to do. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { tr } from "../lib/table.js";
import { has } from "../lib/words.js";

const MOST_NAME = 120;
const MOST_NOTE = 2000;
const LONGEST_VALUE = 60;

/** @type {{id: string | null, name: string, note: string}} */
const form = { id: null, name: "", note: "" };

/** The button that opens the form for a run's name and note. @param {any} status @param {() => void} redraw */
export const nameButton = (status, redraw) =>
  L.button(
    t("run_name_note"),
    () => {
      const closed = form.id !== status.run_id;
      Object.assign(form, { id: closed ? status.run_id : null, name: status.name, note: status.note || "" });
      redraw();
      if (closed) L.find("#run-name")?.focus();
    },
    "quiet",
    { "data-key": "name", "aria-expanded": String(form.id === status.run_id) },
  );

/** The form, while it is open; otherwise the note, if there is one.
 * @param {any} status @param {(data: object) => Promise<any>} save @param {() => void} redraw */
export const nameAndNote = (status, save, redraw) => {
  if (form.id !== status.run_id) return status.note ? h("p", { class: "note", id: "run-note" }, status.note) : null;
  const submit = async (event) => {
    event.preventDefault();
    if (!(await save({ name: form.name.trim() || status.name, note: form.note.trim() }))) return;
    form.id = null;
    redraw();
  };
  return h(
    "form",
    { class: "run-naming", onsubmit: submit },
    h("label", { for: "run-name" }, t("run_name")),
    L.entry({ id: "run-name", value: form.name, maxlength: MOST_NAME, onchange: (name) => (form.name = name) }),
    h("label", { for: "run-note-text" }, t("run_note")),
    L.entry({
      tag: "textarea",
      id: "run-note-text",
      rows: 3,
      value: form.note,
      maxlength: MOST_NOTE,
      placeholder: t("run_note_hint"),
      onchange: (note) => (form.note = note),
    }),
    h("button", { type: "submit", class: "btn" }, t("data_save")),
  );
};

/** A setting's value as a person reads it. @param {any} value */
export const shownValue = (value) => {
  if (value === null || value === undefined || value === "") return "–";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text;
};

/** A table of the settings in which the compared runs differ, a column each.
 * @param {Record<string, Record<string, any>>} settings by setting, then by run @param {any[]} runs */
export const differences = (settings, runs) => {
  if (runs.length < 2) return null;
  const keys = Object.keys(settings);
  if (!keys.length) return h("p", { class: "soft small", id: "runs-differ" }, t("runs_alike"));
  const names = L.distinctNames(runs);
  /** @param {string} key */
  const title = (key) => [`train_${key}`, `f_${key}`].filter(has).map((word) => t(word))[0] || key;
  return h(
    "div",
    { class: "scroll", tabindex: 0, id: "runs-differ", role: "region", "aria-label": t("runs_differ") },
    h(
      "table",
      { class: "differ" },
      h("caption", {}, t("runs_differ")),
      h(
        "thead",
        {},
        tr(
          h("th", { scope: "col" }, t("runs_setting")),
          names.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        keys.map((key) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, title(key)),
            runs.map((run, n) => h("td", { "data-name": names[n] }, shownValue(settings[key][run.run_id]))),
          ),
        ),
      ),
    ),
  );
};
