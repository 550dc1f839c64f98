/* "This one is better": asks which answers it beats and in which data set that is kept. Sends what the person picks to
 `server`. */
import * as L from "../lib/api.js";
import { h, number, shape, t } from "./dom.js";

const KEY = "llmdemo-arena-picks";

export class Prefer {
  /** What is asked about: the button that was pressed, the prompt and the better answer. @type {any} */
  button = null;
  /** @type {any} */
  prompt = null;
  chosen = "";

  constructor(server) {
    this.server = server;
    this.names = h("datalist", { id: "arena-picks-names" });
    this.name = h("input", {
      type: "text",
      id: "arena-picks",
      maxlength: "80",
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": t("prefer_set"),
      placeholder: t("prefer_default"),
    });
    this.name.setAttribute("list", "arena-picks-names");
    try {
      this.name.value = localStorage.getItem(KEY) || "";
    } catch {
      /* private windows may forbid it */
    }
    this.message = h("p", { class: "said", role: "status" });
    this.others = h("div", { class: "others" });
    this.element = h(
      "div",
      { class: "prefer" },
      h(
        "div",
        { class: "cap" },
        h("span", {}, t("prefer_than")),
        h(
          "button",
          {
            type: "button",
            class: "small",
            "aria-label": t("close"),
            title: t("close"),
            onclick: () => this.close(true),
          },
          "✕",
        ),
      ),
      this.others,
      h("label", { class: "into" }, t("prefer_into"), " ", this.name, this.names),
      this.message,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.close(true);
      }
    });
  }

  /* Below the pane of `lane`: `rest` are the other answers [{title, strategy, text}], `prompt` what was asked. */
  open(card, button, prompt, chosen, rest, sets) {
    if (this.button === button && this.element.isConnected) return this.close(true);
    Object.assign(this, { button, prompt, chosen });
    this.message.replaceChildren();
    this.names.replaceChildren(...sets.map((set) => h("option", { value: set.name })));
    const texts = rest.map((other) => other.text);
    this.others.replaceChildren(
      ...rest.map((other) =>
        h(
          "button",
          { type: "button", class: "chip", "data-strategy": other.strategy, onclick: () => this.save([other.text]) },
          shape(other.strategy),
          other.title,
        ),
      ),
      rest.length > 1
        ? h("button", { type: "button", class: "chip", onclick: () => this.save(texts) }, t("prefer_all"))
        : "",
    );
    card.append(this.element);
    const first = this.others.querySelector("button");
    if (first) first.focus({ preventScroll: true });
    else this.message.textContent = t("prefer_none");
  }

  close(refocus) {
    this.element.remove();
    if (refocus && this.button && this.button.isConnected) this.button.focus({ preventScroll: true });
  }

  async save(rejected) {
    try {
      localStorage.setItem(KEY, this.name.value);
    } catch {
      /* as above */
    }
    const answer = await L.ask(this.server, "prefer", {
      name: this.name.value.trim() || t("prefer_default"),
      prompt: this.prompt,
      chosen: this.chosen,
      rejected,
    });
    if (answer.error) {
      this.message.replaceChildren(h("b", {}, answer.error.message), " ", answer.error.hint || "");
      return;
    }
    L.tell("preference-added", answer.dataset_id);
    this.message.replaceChildren(
      t(answer.added ? "prefer_saved" : "prefer_known", { name: answer.name, n: number(answer.pairs) }),
      " ",
      h("button", { type: "button", class: "quiet", onclick: () => trainOn(answer.dataset_id) }, t("prefer_train")),
    );
  }
}

const trainOn = (datasetId) => {
  L.tell("train-on", datasetId);
  L.openPanel("train");
};
