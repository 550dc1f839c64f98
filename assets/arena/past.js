/* Comparisons that others have replaced, so that a fork or a new one can be taken back. Knows no lane. */
import { clip } from "../lib/format.js";
import { h, t } from "./dom.js";

const MOST = 12;

export class Past {
  /** The newest last. @type {any[]} */
  traces = [];

  /**
   * @param {{show: (trace: any) => void, current: () => any, busy: () => boolean}} hooks `current`: what would be lost
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.menu = h("select", {
      id: "arena-earlier",
      class: "earlier",
      "aria-label": t("earlier"),
      hidden: true,
      onchange: () => this.show(Number(this.menu.value)),
    });
    this.back = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.goBack() }, t("back"));
  }

  /** Keeps what is shown, if there is anything. */
  keep() {
    const trace = this.hooks.current();
    if (!trace) return;
    this.traces.push(trace.copy());
    if (this.traces.length > MOST) this.traces.shift();
    this.list();
  }

  list() {
    const said = ({ meta }, at) => {
      const text = meta.prompt.raw ?? meta.prompt.messages?.at(-1)?.content ?? "";
      return h("option", { value: String(at) }, t("earlier_one", { prompt: clip(text, 40), seed: String(meta.seed) }));
    };
    this.menu.replaceChildren(h("option", { value: "-1" }, t("earlier")), ...this.traces.map(said).reverse());
    this.menu.hidden = this.back.hidden = !this.traces.length;
  }

  show(at) {
    if (this.hooks.busy() || !this.traces[at]) return;
    const [trace] = this.traces.splice(at, 1);
    this.keep();
    this.hooks.show(trace);
    this.list();
  }

  goBack() {
    if (this.hooks.busy()) return;
    const trace = this.traces.pop();
    if (trace) this.hooks.show(trace);
    this.list();
  }
}
