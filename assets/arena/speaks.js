/* Says so where the chosen model was not made for the language of the prompt, and offers one that was. Tells a
   language by its script alone, as a prompt is short: of the Latin ones it says nothing. */
import { joined, lang } from "../lib/words.js";
import { h, t } from "./dom.js";

/** The first that fits counts: Japanese has Han, too. @type {[string, RegExp][]} */
const SCRIPTS = [
  ["ja", /[\u3041-\u30ff]/],
  ["ko", /[\uac00-\ud7af\u1100-\u11ff]/],
  ["zh", /[\u3400-\u9fff]/],
  ["th", /[\u0e01-\u0e5b]/],
  ["ar", /[\u0620-\u06ff]/],
  ["he", /[\u05d0-\u05ea]/],
  ["hi", /[\u0904-\u097f]/],
  ["ru", /[\u0400-\u04ff]/],
];

/** The language of a text that has a script of its own; "" for any other. @param {string} text */
export const languageOf = (text) => SCRIPTS.find(([, script]) => script.test(text))?.[0] || "";

/**
 * What is to be said of a prompt: its language, the first chosen model that was made for others, and what was made for
 * it, in the menu (`model`) or to be fetched (`preset`). Null where there is nothing to say.
 * @param {string} text
 * @param {string[]} chosen the ids of the chosen models
 * @param {any[]} menu
 * @param {any[]} speakers
 */
export const unspoken = (text, chosen, menu, speakers) => {
  const language = languageOf(text);
  const speaks = (each) => each.languages?.includes(language);
  const others = menu.filter((each) => chosen.includes(each.id) && each.languages?.length && !speaks(each));
  if (!language || !others.length) return null;
  const model = menu.find((each) => each.ready && speaks(each));
  return { language, silent: others[0], model, preset: model ? undefined : speakers.find(speaks) };
};

const nameOf = (tag) => new Intl.DisplayNames([lang], { type: "language" }).of(tag) || tag;

export class Speaks {
  told = "";
  element = h("p", { class: "speaks", role: "status", hidden: true });

  /** @param {{choose: (id: string) => void, fetch: (id: string) => void}} hooks @param {any[]} speakers */
  constructor(hooks, speakers) {
    this.hooks = hooks;
    this.speakers = speakers || [];
  }

  /** @param {any} form */
  draw({ prompt, modelIds, models }) {
    const found = unspoken(prompt.value, modelIds, models || [], this.speakers);
    const told = JSON.stringify(found);
    if (told === this.told) return;
    this.told = told;
    this.element.hidden = !found;
    if (!found) return this.element.replaceChildren();
    const { language, silent, model, preset } = found;
    const values = {
      model: silent.title,
      languages: joined(silent.languages.map(nameOf)),
      language: nameOf(language),
    };
    const act = (text, onclick) => h("button", { type: "button", class: "quiet", onclick }, text);
    const offer = model
      ? act(t("speaks_choose", { model: model.title }), () => this.hooks.choose(model.id))
      : preset && act(t("speaks_fetch", { model: preset.title }), () => this.hooks.fetch(preset.id));
    this.element.replaceChildren(t("speaks_not", values), " ", offer || "");
  }
}
