/* Words in the browser's language, or the one that was chosen; English where there is no other. Knows nothing of where
   they are shown. */

/** {tag: {name, tags}}: the languages of assets/words/, as the page's head tells them.
   @type {Record<string, {name: string, tags: string[]}>} */
export const languages = JSON.parse(
  /** @type {HTMLMetaElement | null} */ (globalThis.document?.querySelector('meta[name="llmdemo-languages"]'))
    ?.content || '{"en": {"name": "English", "tags": ["en"]}}',
);

/** How closely a wanted tag fits a language, as llmdemo/core/languages.py says it. */
const fit = (wanted, language) => {
  const fits = (tag) =>
    wanted === tag || (wanted.startsWith(`${tag}-`) && (tag.includes("-") || !language.includes("-")));
  const fitting = languages[language].tags.map((tag) => tag.toLowerCase()).filter(fits);
  return Math.max(0, ...fitting.map((tag) => tag.length));
};

/** The language for a browser that wants these, in their order. @param {readonly string[]} accepted */
export const languageFor = (accepted) => {
  const bare = (tag) => tag.toLowerCase().split("-")[0];
  const known = Object.values(languages).flatMap(({ tags }) => tags.map(bare));
  const wanted = (accepted.find((tag) => known.includes(bare(tag))) || "en").toLowerCase();
  const best = Object.keys(languages).sort((one, two) => fit(wanted, two) - fit(wanted, one))[0];
  return fit(wanted, best) ? best : "en";
};

/** The page's language. */
export const lang = languageFor(globalThis.navigator?.languages || []);

/** Shows the page in another of its languages from now on: the server puts it before navigator's languages
   (llmdemo/ui/chosen_language.py). @param {string} language */
export const choose = (language) => {
  // a Space's page is in a frame of another site
  const framed = location.protocol === "https:" ? "none; secure" : "lax";
  document.cookie = `llmdemo-language=${language}; path=/; max-age=31536000; samesite=${framed}`;
  location.reload();
};

/** @type {Record<string, string>} */
let words = {};

/** Fetches the words once; without them the page would show their keys. */
export const loadWords = async () => {
  const names = lang === "en" ? [lang] : [lang, `said.${lang}`]; // what the server says comes with its English text
  const files = names.map(async (name) => (await fetch(new URL(`../words/${name}.json`, import.meta.url))).json());
  useWords(Object.assign({}, ...(await Promise.all(files))));
};

/** @param {Record<string, string>} given {key: text} */
export const useWords = (given) => {
  words = Object.fromEntries(Object.entries(given).map(([key, text]) => [key, unparted(text)]));
};

const BEFORE_UNIT = /(?<=[\d}]) (?=%|(?:[kMG]i?B|B|m?s|min|h|nats)(?![\p{L}\d]))/gu;

/** A text, or one with places, in which a number and its unit stay on one line. @param {string} text */
export const unparted = (text) => text.replace(BEFORE_UNIT, "\u00a0");

/** Whether there is a text with this key. @param {string} key */
export const has = (key) => key in words;

/** Stands for a value that is not there, as in a record that a script has written in part. */
export const NONE = "–";
const MISSING = /_(?:undefined|null|NaN)$/; // a key that was made with such a value

const PLACE = /\{(\w+)(?::(,|or|and))?\}|\{(\w+)\|([^{}|]*)\|([^{}|]*)\}/g;

/**
 * The text `key` with its places filled in, as llmdemo/core/sentences.py does it: {name} a value, {n:,} a number with
 * separators, {names:or} and {names:and} a list, {n|record|records} one of two forms by the number n, which may be
 * written out already.
 * @param {string} key
 * @param {Record<string, unknown>} [values]
 */
export const t = (key, values = {}) =>
  (words[key] ?? (MISSING.test(key) ? NONE : key)).replace(PLACE, (whole, name, form, counted, single, several) => {
    if (counted) return counted in values ? (String(values[counted]) === "1" ? single : several) : whole;
    return name in values ? said(values[name], form) : whole;
  });

/** A number that is written out, with the sign of a negative one as print has it: a hyphen is another and shorter one.
   @param {string} text */
export const withMinus = (text) => text.replace("-", "−");

/** @param {unknown} value @param {string} [form] */
const said = (value, form) => {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  if (typeof value === "number") return withMinus(form === "," ? value.toLocaleString(lang) : String(value));
  return Array.isArray(value) ? joined(value.map(String), form) : String(value);
};

/** What stands between a text and the sentence after it: nothing behind a full-width mark. @param {string} text */
export const gap = (text) => (/[\u3001-\u301f\uff00-\uffef]$/.test(text) ? "" : " ");

/** Sentences as one text; those that are empty are left out. @param {...string} texts */
export const sentences = (...texts) =>
  texts.filter(Boolean).reduce((before, text) => (before ? before + gap(before) + text : text), "");

/** The items as one list. @param {string[]} items @param {string} [form] */
export const joined = (items, form) => {
  const last = form === "or" || form === "and" ? items.length > 1 && items[items.length - 1] : false;
  if (last === false) return items.join(t("list_comma"));
  return items.slice(0, -1).join(t("list_comma")) + t(`list_${form}`) + last;
};

/* A key in a sentence, but not as a part of a file's name or path. */
const SETTING = /(\s?[(（])?(?<![\w./\\-])([a-z]+(?:_[a-z0-9]+)+)(?![\w/\\-]|\.\w)([)）])?/g;

/* A sentence with the form's labels for the settings of a run, which scripts know by their keys. The arena's own form
   does so for its settings, and marks their fields. @param {string} text */
const withLabels = (text) =>
  text.replace(SETTING, (whole, open = "", key, close = "", at, all) => {
    const label = words[`f_${key}`];
    if (!label || has(`arena_set_label_${key}`) || all[at - 1] === '"' || all[at + whole.length] === '"') return whole;
    if (open && close && all.slice(0, at).toLowerCase().endsWith(label.toLowerCase())) return "";
    return open + t("quoted", { text: label }) + close;
  });

/**
 * `value` as the server sent it, with the sentences in it ({"$say": key, values, text}) in the page's language.
 * @param {any} value
 * @returns {any}
 */
export const inWords = (value) => {
  if (Array.isArray(value)) return value.map(inWords);
  if (!value || typeof value !== "object") return value;
  if ("$say" in value)
    return unparted(
      withLabels(
        lang !== "en" && has(value.$say) ? t(value.$say, inWords(value.values || {})) : String(value.text ?? ""),
      ),
    );
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inWords(each)]));
};
