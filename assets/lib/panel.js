/* What the panels share. */
export * from "./api.js";
export * from "./format.js";
export * from "./live.js";
export * from "./view.js";
export { choose, gap, has, lang, languages, sentences, t, unparted } from "./words.js";
