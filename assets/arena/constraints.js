/* The form that texts may be held to: a JSON schema, a pattern, or one of a few texts. The fields, folded away, and how
   a lane tells of it. Starts nothing. */
import { h, number, percent, t } from "./dom.js";

export const CONSTRAINTS = ["json_schema", "regex", "choice"];

/** Whether a value is one that holds a text to something. @param {unknown} value */
export const isOn = (value) =>
  Array.isArray(value)
    ? value.length > 0
    : value && typeof value === "object"
      ? Object.keys(value).length > 0
      : Boolean(value);

/** Which form a lane, or all of them, has; "" for none. @param {Record<string, any>} info */
export const constraintOf = (info) => CONSTRAINTS.find((key) => isOn(info[key])) || "";

/** Lines as texts; blanks within them stay. @param {string} text */
const choicesOf = (text) => text.split("\n").filter((line) => line.length > 0);

const READ = {
  json_schema: (text) => text.trim(), // the app reads the JSON: its error names the place
  regex: (text) => text,
  choice: choicesOf,
};
const OFF = { json_schema: "", regex: "", choice: [] };
const WRITTEN = {
  json_schema: (value) => (typeof value === "string" ? value : JSON.stringify(value)),
  regex: String,
  choice: (value) => [].concat(value).join("\n"),
};

/** The folded fields: a menu, and the field of what it says. Registers each in form.inputs. @param {any} form */
export function constraintFields(form) {
  const kind = h(
    "select",
    { id: "arena-form", onchange: () => form.hooks.changed() },
    h("option", { value: "" }, t("form_none")),
    CONSTRAINTS.map((key) => h("option", { value: key }, t("form_" + key))),
  );
  const fields = CONSTRAINTS.map((key) => {
    const input = h(key === "regex" ? "input" : "textarea", {
      id: "arena-" + key,
      rows: key === "json_schema" ? 6 : 3,
      dir: "ltr",
      spellcheck: "false",
      placeholder: t("placeholder_" + key),
      onchange: () => form.hooks.changed(),
    });
    const write = (value) => {
      if (isOn(value)) {
        input.value = WRITTEN[key](value);
        kind.value = key;
      } else if (kind.value === key) kind.value = "";
      fit();
    };
    Object.assign(input, { read: () => (kind.value === key ? READ[key](input.value) : OFF[key]), write });
    form.inputs[key] = input;
    return form.field(key, input);
  });
  const fit = () => {
    fields.forEach((field, at) => (field.hidden = kind.value !== CONSTRAINTS[at]));
    form.element?.classList.toggle("is-held", kind.value !== "");
  };
  kind.addEventListener("change", fit);
  fit();
  const fold = h(
    "details",
    { class: "more" },
    h("summary", {}, t("forms")),
    h("div", { class: "settings morebody-inner" }, form.field("form", kind), fields),
  );
  return Object.assign(fold, { isOn: () => kind.value !== "" });
}

/** What a lane that is free of the common form says instead of it. */
export const FREE = OFF;

/** How much its form forbade, of a lane's shown tokens: the mean share, and how often the likeliest token; null where
 * nothing is known. @param {any[]} tokens */
export function forbidden(tokens) {
  const known = tokens.filter((token) => token.g !== undefined);
  if (!known.length) return null;
  const mean = known.reduce((sum, token) => sum + token.g, 0) / known.length;
  const overruled = known.filter(({ a, i }) => a.length && a[0][0] !== i && !(a[0][2] > 0)).length;
  return { mean, overruled, tokens: known.length };
}

/** The same as a sentence, or null. @param {any[]} tokens */
export function forbiddenLine(tokens) {
  const found = forbidden(tokens);
  if (!found) return null;
  const values = { share: percent(found.mean), n: number(found.overruled), of: number(found.tokens) };
  return h("p", { class: "how" }, t("forbidden", values));
}
