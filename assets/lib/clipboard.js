/* Text into the clipboard, also on plain http. */
import { h } from "./dom.js";

/** @param {string} text */
export const copy = async (text) => {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "unseen", "aria-hidden": "true", value: text });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy"); // the only way on plain http
  area.remove();
  if (!copied) throw new Error("clipboard");
};
