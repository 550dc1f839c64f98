/* The arena's example prompts, and its form's names for models and settings. */
import { t } from "./dom.js";

const PRESETS = ["sky", "json", "haiku", "facts", "story"];

export const presets = () =>
  PRESETS.map((key) => ({ title: t("preset_" + key), prompt: t("preset_" + key + "_prompt"), raw: key === "story" }));

/**
 * An error with the form's names instead of the settings' keys; and the keys that its message is about.
 * @param {{message: string, hint: string}} error
 * @param {string[]} keys
 * @returns {[any, string[]]}
 */
export const inFormsNames = (error, keys) => {
  const about = (text) => keys.filter((key) => new RegExp(`\\b${key}\\b`).test(text || ""));
  const rename = (text) =>
    about(text).reduce((said, key) => said.replace(new RegExp(`\\b${key}\\b`, "g"), t("set_label_" + key)), text || "");
  return [{ ...error, message: rename(error.message), hint: rename(error.hint) }, about(error.message)];
};

/** Whether a model is the base or a tuned one, by its id; "" for any other. @param {unknown} id */
export const kindOf = (id) =>
  id === "starter" ? t("kind_starter") : String(id).startsWith("run-") ? t("kind_tuned") : "";

/* In the menu: a run's kind stands first, where a narrow menu does not cut it off. */
export function modelTitle({ id, title, ready, note }) {
  const kind = kindOf(id);
  const names = id === "starter" ? [title, kind] : [kind, title];
  return [...names, ready ? "" : note].filter(Boolean).join(" · ");
}
