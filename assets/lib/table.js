/* Tables. Knows no panel. */
import { h } from "./view.js";

/** A heading, over a column or at a row's side. */
export const th = (...children) => h("th", {}, children);
/** A heading over numbers. */
export const nth = (...children) => h("th", { class: "n" }, children);
export const td = (...children) => h("td", {}, children);
/** A number. */
export const ntd = (...children) => h("td", { class: "n" }, children);
export const tr = (...cells) => h("tr", {}, cells);

/** A table: the cells of its head, then its rows. @param {Record<string, any>} attributes @param {any} head */
export const table = (attributes, head, ...rows) =>
  h("table", attributes, h("thead", {}, tr(head)), h("tbody", {}, rows));

/** What may be wider than the page: it scrolls by itself, by the keyboard too. */
export const wide = (...children) => h("div", { class: "scroll", tabindex: 0 }, children);
