/* What the panels share. */
export * from "./api.js";
export * from "./format.js";
export * from "./live.js";
export * from "./view.js";
export { choose, has, lang, languages, t } from "./words.js";
