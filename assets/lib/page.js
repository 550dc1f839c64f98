/* What the panels that draw by hand share. */
export * from "./api.js";
export * from "./dom.js";
export * from "./format.js";
export * from "./words.js";
