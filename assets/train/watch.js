/* A run that its owner shows: the switch on the owner's page, and the page on which guests watch it. */
import * as L from "../lib/panel.js";
import { copy } from "../arena/dom.js";
import { h, t } from "../lib/panel.js";
import { addressOf } from "../votes/link.js";
import { figures, standing } from "./figures.js";
import { samplesBox } from "./samples.js";

const LOOK_MS = 2000;

let copied = false;

/**
 * Whether guests may watch this run: a switch, and the link while they may.
 * @param {any} status @param {(on: boolean) => Promise<any>} show @param {() => void} redraw
 */
export const shownToGuests = (status, show, redraw) => {
  const turn = async (on) => {
    copied = false;
    await show(on);
  };
  const address = addressOf(`watch?run=${status.run_id}`, window.location.href);
  const copyLink = async () => {
    copied = await copy(address).then(
      () => true,
      () => false,
    );
    redraw();
  };
  return h(
    "div",
    { class: "run-shown" },
    h(
      "label",
      {},
      h("input", {
        type: "checkbox",
        id: "run-shown",
        checked: status.shown,
        onchange: (event) => turn(event.target.checked),
      }),
      " ",
      t("run_show"),
    ),
    status.shown
      ? [
          h("a", { href: address, target: "_blank", rel: "noopener" }, address),
          L.button(t(copied ? "votes_copied" : "votes_copy"), copyLink, "quiet", { "data-key": "copy-watch" }),
        ]
      : null,
  );
};

class Watch {
  /** @type {any} */
  run = {};
  /** @type {any} */
  error = null;
  prompt = 0;
  waits = false;
  looked = 0;
  over = "step";

  /** @param {import("../lib/api.js").Island} island */
  constructor({ el, server }) {
    this.el = el;
    this.server = server;
    this.id = new URLSearchParams(window.location.search).get("run") || "";
    this.read = L.newest((question) => L.ask(server, "watch_run", question));
    L.live();
    L.hear("job", ({ kind, job_id: id }) => (kind === "all" || id === this.id) && this.look());
    this.look();
  }

  goes() {
    return !this.run.status || L.ACTIVE.includes(this.run.status.state);
  }

  /* Soon after a change, and not more often than `LOOK_MS`: a whole class may watch. */
  async look() {
    if (this.waits) return;
    this.waits = true;
    const pause = Math.max(0, this.looked + LOOK_MS - Date.now());
    if (pause) await new Promise((done) => setTimeout(done, pause));
    this.waits = false;
    this.looked = Date.now();
    const answer = await this.read({ run_id: this.id, seen: this.run.seen });
    this.error = answer.error || null;
    if (!answer.error) this.run = { ...this.run, ...answer };
    this.draw();
  }

  draw() {
    const { status } = this.run;
    const choosePrompt = (n) => {
      this.prompt = n;
      this.draw();
    };
    L.show(
      this.el,
      h(
        "main",
        { class: "watch" },
        L.notice(this.error),
        status
          ? [h("h1", {}, status.name), this.state(), this.plot(), samplesBox(this.run, this.prompt, choosePrompt)]
          : null,
      ),
    );
  }

  state() {
    const { status: s, series } = this.run;
    const share = s.total_steps ? Math.min(1, s.step / s.total_steps) : 0;
    return h(
      "section",
      { class: "box" },
      h(
        "div",
        { class: "state" },
        h("b", { class: `is-${s.state}`, role: "status" }, t(`state_${s.state}`)),
        s.total_steps ? h("span", {}, t("train_step", { step: L.int(s.step), total: L.int(s.total_steps) })) : null,
        standing(s, series).map(([word, figure]) => h("span", {}, `${word} `, h("b", {}, figure))),
        this.goes() && s.eta_seconds ? h("span", {}, t("train_left", { time: L.duration(s.eta_seconds) })) : null,
        this.goes() && s.phase && s.phase !== "training" ? h("span", {}, t(`phase_${s.phase}`)) : null,
      ),
      L.progressBar(this.goes() && !s.step ? null : share, t(`state_${s.state}`)),
    );
  }

  plot() {
    const { status, series } = this.run;
    const runs = [{ run_id: this.id, name: status.name, series: series || {} }];
    const { plots, keys, overfits } = figures(runs, { over: this.over, total: status.total_steps, all: false });
    return h(
      "section",
      { class: "box" },
      plots,
      h("div", { class: "cap" }, h("span", { class: "keys" }, keys)),
      overfits ? h("p", { class: "soft small" }, overfits) : null,
    );
  }
}

L.define("watch", (island) => {
  new Watch(island);
});
