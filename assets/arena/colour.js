/* What the tokens' colour means: the menu, and which way is dark. */
import { h, t } from "./dom.js";

const MODES = ["none", "probability", "entropy", "form"];
const SHADES = [6, 18, 32, 46];

export class Colour {
  /** @param {(mode: string) => void} changed */
  constructor(changed) {
    this.menu = h(
      "select",
      { id: "arena-colour", onchange: () => this.draw() },
      MODES.map((mode) => h("option", { value: mode }, t("colour_" + mode))),
    );
    this.legend = h("span", { class: "colour-legend" });
    this.element = h("label", { class: "colour" }, t("colour"), " ", this.menu, this.legend);
    this.changed = changed;
    this.menu.value = "probability";
  }

  /** @returns {string} */
  get mode() {
    return this.menu.value;
  }

  /* The legend, in the strategies' own shades. */
  draw() {
    const { mode } = this;
    const shade = (share) => h("i", { style: `--a:${share}` });
    const scale = [t("legend_" + mode + "_low"), ...SHADES.map(shade), t("legend_" + mode + "_high")];
    this.legend.replaceChildren(...(mode === "none" ? [] : scale));
    this.changed(mode);
  }
}
