/* Words in the browser's language, English where there is no other. Knows nothing of where they are shown. */

const wanted = (globalThis.navigator?.languages || ["en"]).find((tag) => /^(en|zh)/i.test(tag || ""));

/** The page's language. */
export const lang = /^zh(-(TW|HK|MO|Hant)|$)/i.test(wanted || "en") ? "zh-TW" : "en";

/** Whether the page is in Chinese. */
export const isChinese = lang === "zh-TW";

/** @type {Record<string, string>} */
let words = {};

/** Fetches the words once; without them the page would show their keys. */
export const loadWords = async () => {
  const answer = await fetch(new URL(`../words/${lang}.json`, import.meta.url));
  useWords(await answer.json());
};

/** @param {Record<string, string>} given {key: text} */
export const useWords = (given) => {
  words = given;
};

/** Whether there is a text with this key. @param {string} key */
export const has = (key) => key in words;

/**
 * The text `key` with its {placeholders} filled in.
 * @param {string} key
 * @param {Record<string, unknown>} [values]
 */
export const t = (key, values = {}) =>
  (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
