/* The arena's "?": the page's own, beside controls that are made by hand. */
import { help as bubble, show } from "../lib/view.js";
import { h, t } from "./dom.js";

/** @param {string} key of the setting that it explains */
export const help = (key) => {
  const place = h("span", {});
  show(place, bubble(t("help_" + key), t("set_label_" + key)));
  return place;
};
