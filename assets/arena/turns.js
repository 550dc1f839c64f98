/* Earlier turns of the conversation that the prompt goes on from. */
import { h, t } from "./dom.js";

export class Turns {
  /** @type {{role: string, content: string}[]} */
  turns = [];
  element = h("ol", { class: "turns", hidden: true });

  /** @param {() => void} changed called when a person clears them */
  constructor(changed) {
    this.changed = changed;
  }

  /** @param {{role: string, content: string}[]} turns */
  set(turns) {
    this.turns = turns;
    this.draw();
  }

  draw() {
    const item = (turn) =>
      h("li", { class: turn.role }, h("span", {}, t("role_" + turn.role)), h("p", { dir: "auto" }, turn.content));
    const clear = () => {
      this.set([]);
      this.changed();
    };
    const button = h("button", { type: "button", class: "quiet", onclick: clear }, t("new_conversation"));
    this.element.hidden = !this.turns.length;
    this.element.replaceChildren(...this.turns.map(item), h("li", { class: "clear" }, button));
  }
}
