/* Comparisons of this browser that have ended: reopened, from a fork back to what it was forked from, deleted. Knows no
   lane. */
import { randomId } from "../lib/api.js";
import { clip, when } from "../lib/format.js";
import { button, h, show, sure } from "../lib/view.js";
import { t } from "./dom.js";
import { h as make } from "../lib/dom.js";
import { Kept, MOST, browserShelf } from "./kept.js";
import { Trace } from "./trace.js";

const PAUSE_MS = 500;

/** What stands for a prompt in a list. @param {any} prompt */
const textOf = (prompt) => String(prompt.raw ?? prompt.messages?.at(-1)?.content ?? "");

/* What a comparison asked: of which models, on what, from where on. @param {any} trace */
const askedOf = ({ meta, lanes }) =>
  JSON.stringify([
    meta.models.map((model) => [model.id, model.fingerprint, model.dtype]),
    meta.prompt,
    meta.settings,
    Array.from(lanes.values(), (lane) => [lane.info.id, lane.prefix.map((token) => token.i)]),
  ]);

export class Past {
  /** The one that is shown; null where that is under way, or not kept. @type {string | null} */
  shown = null;
  /** The one that was shown before. @type {string | null} */
  before = null;
  open = false;
  error = "";
  /** @type {Kept | null} */
  kept = null;

  /** @param {{show: (trace: Trace) => void, busy: () => boolean, shelf?: () => Promise<any>}} hooks */
  constructor(hooks) {
    this.hooks = hooks;
    this.buttons = make("span", { class: "past-buttons" });
    this.element = make("div", { class: "past" });
    this.ready = (hooks.shelf || browserShelf)().then(async (shelf) => {
      this.kept = new Kept(shelf);
      await this.read();
    });
  }

  get list() {
    return this.kept?.list || [];
  }

  /** Another comparison begins: what was shown is the one before. */
  leave() {
    this.before = this.shown ?? this.before;
    this.shown = null;
    this.draw();
  }

  /** Keeps a comparison that has ended. @param {Trace} trace @param {boolean} forked from the one before */
  async add(trace, forked = false) {
    const { meta } = trace;
    const id = randomId();
    const about = {
      id,
      at: Date.now(),
      prompt: clip(textOf(meta.prompt), 200),
      seed: meta.seed,
      models: meta.models.map((model) => String(model.title)),
      parent: forked ? this.before : null,
      same: askedOf(trace),
    };
    this.shown = id;
    const text = JSON.stringify(trace); // at once, as the trace may go on
    await this.ready;
    await new Promise((done) => setTimeout(done, PAUSE_MS)); // whoever presses again at once waits for no disk
    await this.tried(async () => {
      const known = await this.kept?.add(about, text);
      if (this.shown === id) this.shown = known ?? id;
      if (this.before === id) this.before = known ?? id; // another has begun meanwhile
      if (this.before === this.shown) this.before = null;
    });
  }

  async read() {
    await this.tried(() => this.kept?.read());
  }

  /** @param {() => Promise<unknown> | undefined} work */
  async tried(work) {
    try {
      await work();
      this.error = "";
    } catch {
      this.error = t("past_failed"); // the disk is full, or the browser forbids it
    }
    this.draw();
  }

  /** @param {string} id */
  async show(id) {
    if (this.hooks.busy() || !this.kept) return;
    let trace;
    try {
      trace = Trace.parse((await this.kept.text(id)) ?? "");
    } catch {
      await this.read(); // another tab has deleted it
      return;
    }
    if (this.hooks.busy()) return;
    this.leave();
    this.shown = id;
    this.hooks.show(trace);
    this.draw();
  }

  /** @param {string[]} ids */
  async remove(ids) {
    await this.tried(() => this.kept?.remove(ids));
    if (!this.list.length) this.open = false;
    this.draw();
  }

  /** Where "Back" leads: to the parent of a fork, else to what was shown before. */
  get target() {
    const known = (id) => this.list.find((one) => one.id === id);
    const parent = known(known(this.shown)?.parent);
    return { one: parent || known(this.before), isParent: Boolean(parent) };
  }

  draw() {
    const { one, isParent } = this.target;
    const off = this.hooks.busy();
    const flip = async () => {
      this.open = !this.open;
      this.draw();
      if (this.open) await this.read();
    };
    show(
      this.buttons,
      one
        ? button(t(isParent ? "back_fork" : "back"), () => this.show(one.id), "quiet", {
            "data-key": "back",
            disabled: off,
          })
        : null,
      this.list.length
        ? button(t("earlier", { n: this.list.length }), flip, "quiet", {
            id: "arena-earlier",
            "data-key": "earlier",
            "aria-expanded": String(this.open),
          })
        : null,
    );
    this.element.hidden = !this.error && !(this.open && this.list.length);
    show(this.element, this.error ? h("p", { role: "status" }, this.error) : null, this.open ? this.rows(off) : null);
  }

  rows(off) {
    return [
      h(
        "ul",
        { "aria-label": t("earlier", { n: this.list.length }) },
        this.list.map((one) => this.row(one, off)),
      ),
      h(
        "p",
        { class: "cap" },
        t("past_where", { most: MOST }),
        " ",
        sure(t("past_clear"), t("past_clear_sure"), () => this.remove(this.list.map((one) => one.id))),
      ),
    ];
  }

  row({ id, at, prompt, seed, models, parent }, off) {
    const name = prompt || t("past_empty");
    const facts = [models.join(", "), t("past_seed", { seed }), when(at / 1000)];
    if (parent) facts.unshift(t("past_fork"));
    return h(
      "li",
      { "data-key": id, "aria-current": id === this.shown ? "true" : undefined },
      h(
        "button",
        { type: "button", class: "quiet open", disabled: off, onclick: () => this.show(id) },
        h("b", {}, clip(name, 80)),
        h("small", {}, facts.join(" · ")),
      ),
      h(
        "button",
        {
          type: "button",
          class: "small",
          title: t("past_delete"),
          "aria-label": t("past_delete_one", { prompt: clip(name, 40) }),
          onclick: () => this.remove([id]),
        },
        "×",
      ),
    );
  }
}
