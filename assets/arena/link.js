/* A link that reopens prompt, settings and seed; and the settings that this browser had last. Knows the form only. */
import { t } from "./dom.js";
import { presets } from "./presets.js";

const KEY = "llmdemo-arena";
const LONGEST = 6000;

const state = (form) => ({
  models: form.modelIds,
  prompt: form.promptValue(),
  settings: form.settings(),
  fresh: form.fresh.checked,
  modes: form.modes,
});

function apply(form, value) {
  if (value === null || typeof value !== "object") return;
  if (value.settings && typeof value.settings === "object") form.setSettings(value.settings);
  if (value.prompt && typeof value.prompt === "object") form.setPrompt(value.prompt);
  if (Array.isArray(value.models)) form.chooseModels(value.models.map(String));
  form.fresh.checked = Boolean(value.fresh);
  form.showUnusual();
  if (value.modes) {
    const text = form.prompt.value;
    form.modes.set(value.modes);
    if (value.prompt) form.prompt.value = text; // taking another mode brings that mode's own text
  }
}

/* ?arena={"models": …, "prompt": …, "settings": …}: readable, and open to any value that the form takes. */
export const link = (form) => {
  const url = new URL(window.location.href);
  const text = JSON.stringify({ ...state(form), fresh: false });
  if (text.length > LONGEST) throw new Error(t("link_too_long"));
  url.searchParams.set("arena", text);
  return url.toString();
};

export const remember = (form) => {
  try {
    localStorage.setItem(
      KEY,
      JSON.stringify({ settings: form.settings(), models: form.modelIds, fresh: form.fresh.checked }),
    );
  } catch {
    /* private windows may forbid it */
  }
};

export const restore = (form) => {
  const shared = new URLSearchParams(window.location.search).get("arena");
  const parse = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  };
  let last = null;
  try {
    last = localStorage.getItem(KEY);
  } catch {
    /* as above */
  }
  if (shared || last) apply(form, parse(shared || last));
  form.prompt.value = form.prompt.value || presets()[0].prompt;
};
