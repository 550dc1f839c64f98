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

export function modelTitle(model) {
  const kind = model.kind === "run" ? t("kind_tuned") : model.kind === "starter" ? t("kind_starter") : "";
  return [model.title, kind, model.ready ? "" : model.note].filter(Boolean).join(" · ");
}
