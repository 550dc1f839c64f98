/* The participants' page: two hidden answers, a choice, the names after it. Made for phones first. */
import { ask, button, define, find, h, notice, ownId, progressBar, show, t } from "../lib/panel.js";
import { Run } from "../arena/run.js";
import { drawBoard } from "./board.js";
import { named } from "./names.js";

const WAITING_MS = 2500;
const RESTING_MS = 8000;
const CHOICES = ["left", "right", "tie", "both_bad"];

const idOf = () => new URLSearchParams(window.location.search).get("vote") || "";

class Ballot {
  /** @type {any} */
  seen = null;
  /** @type {any} What the last vote was on, until the next pair is asked for. */
  result = null;
  /** @type {any} */
  error = null;
  /** @type {any} */
  board = null;
  by = "";
  busy = false;
  question = "";
  /** A question that is being answered. @type {Run | null} */
  run = null;
  /** @type {any} Its place in the queue. */
  place = null;
  note = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;

  /** @param {import("../lib/api.js").Island} island */
  constructor({ el, server, trigger }) {
    Object.assign(this, { el, server, trigger });
    this.el = el;
    this.server = server;
    this.trigger = trigger;
    this.label = ownId("ballot");
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.look());
    this.look();
  }

  // ---- asking ----

  async look() {
    clearTimeout(this.timer);
    if (this.result || this.busy || document.visibilityState !== "visible") return;
    this.take(await ask(this.server, "vote_pair", { session_id: idOf() }));
  }

  /* What the app says this participant sees now. */
  async take(answer) {
    if (answer.error) {
      this.error = answer.error;
      if (answer.lost || !this.seen) this.again(RESTING_MS);
      return this.draw();
    }
    this.error = this.run ? null : this.error;
    this.seen = answer;
    if (answer.pair) this.stopWaiting();
    if (answer.why === "closed" && !this.board) {
      const board = await ask(this.server, "vote_board", { session_id: idOf() });
      this.board = board.error ? null : board;
    }
    if (answer.why === "making") this.again(WAITING_MS);
    else if (!answer.pair && answer.why !== "closed") this.again(RESTING_MS);
    this.draw();
  }

  again(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), ms);
  }

  async act(name, data) {
    if (this.busy) return null;
    this.busy = true;
    this.error = null;
    this.note = "";
    this.draw();
    const answer = await ask(this.server, name, { session_id: idOf(), ...data });
    this.busy = false;
    this.error = answer.error || null;
    return answer;
  }

  async vote(choice) {
    const answer = await this.act("vote", { pair_id: this.seen.pair.pair_id, choice });
    if (!answer) return;
    if (answer.error) return this.look(); // it may have been counted all the same, or the vote be over
    this.result = answer;
    this.draw();
    find("#ballot .ballot-next")?.focus({ preventScroll: true });
  }

  next() {
    this.result = null;
    this.note = "";
    this.look();
    window.scrollTo({ top: 0 });
  }

  async undo() {
    const answer = await this.act("undo_vote", {});
    if (!answer) return;
    if (answer.error) return this.draw();
    this.result = null;
    this.note = t("ballot_undone");
    this.take(answer);
  }

  submit() {
    if (this.run || !this.question.trim()) return;
    const run = new Run(null);
    Object.assign(this, { run, error: null, place: null });
    clearTimeout(this.timer);
    this.trigger("ask", { session_id: idOf(), prompt: this.question, run_id: run.id });
    run.follow((events) => {
      for (const event of events) if (this.run === run) this.answered(event);
    });
    this.draw();
  }

  /* An event of the answer to a question of one's own. */
  answered(event) {
    if (event.type === "pair" && !event.answer.error) {
      this.question = "";
      this.stopWaiting();
      return this.take(event.answer);
    }
    if (event.type === "begin") this.place = null;
    else if (event.type === "queued") this.place = { n: event.place, all: event.waiting };
    else {
      this.stopWaiting();
      this.error = event.type === "pair" ? event.answer.error : event;
    }
    this.draw();
  }

  stopWaiting() {
    this.run?.end();
    this.run = null;
  }

  // ---- drawing ----

  draw() {
    const { seen } = this;
    show(
      this.el,
      h("div", { class: "votes arena ballot" }, this.head(), notice(this.error), seen ? this.body() : null),
    );
  }

  head() {
    const session = this.result || this.seen?.session;
    return h(
      "div",
      { class: "ballot-head" },
      h("h1", {}, this.seen?.session.title || t("ballot_title")),
      session ? h("span", { class: "soft n" }, t("ballot_count", session)) : null,
    );
  }

  body() {
    const { seen, result } = this;
    if (result) return this.pair(result.texts, result);
    if (seen.pair) return this.pair(seen.pair, null);
    if (this.run) return this.waiting(this.place ? t("arena_waiting_queue", this.place) : t("ballot_answering"), null);
    if (seen.why === "closed") return [h("p", {}, t("ballot_closed")), this.board && this.drawBoard()];
    const last = seen.last && !seen.session.closed ? this.undoButton() : null;
    if (seen.why === "ask") return [this.asking(), last];
    if (seen.why === "making")
      return this.waiting(t("ballot_making", seen.session), seen.session.ready / seen.session.prompts);
    return [h("p", { class: "ballot-done", role: "status" }, t(`ballot_${seen.why}`)), last];
  }

  drawBoard() {
    const change = (by) => {
      this.by = by;
      this.draw();
    };
    return drawBoard(this.board, this.by, change);
  }

  waiting(text, share) {
    return h("div", { class: "ballot-done" }, h("p", { role: "status" }, text), progressBar(share, text));
  }

  asking() {
    const type = (event) => {
      this.question = event.target.value;
      this.draw();
    };
    return h(
      "div",
      { class: "ballot-ask" },
      h("label", { for: this.label }, t("ballot_question")),
      h("textarea", { id: this.label, rows: 3, maxlength: 2000, value: this.question, oninput: type }),
      button(t("ballot_ask"), () => this.submit(), "strong wide", { disabled: !this.question.trim() }),
      this.note ? h("p", { class: "soft", role: "status" }, this.note) : null,
    );
  }

  /* `named_` tells who wrote what, once the vote is cast. */
  pair(texts, named_) {
    const side = (name) =>
      h(
        "section",
        {
          class: `answer ${named_?.choice === name ? "chosen" : ""}`,
          "aria-label": t(`ballot_${name}`),
          "data-key": name,
        },
        h("h2", {}, named_ ? named(named_[name]) : t(`ballot_${name}`)),
        h(
          "div",
          { class: "answer-text", dir: "auto" },
          texts[name].trim() || h("i", { class: "soft" }, t("ballot_nothing")),
        ),
      );
    return [
      this.note ? h("p", { class: "soft", role: "status" }, this.note) : null,
      h("p", { class: "ballot-prompt", dir: "auto" }, texts.prompt),
      h("div", { class: "answers" }, side("left"), side("right")),
      named_ ? this.after(named_) : this.choices(),
    ];
  }

  choices() {
    return h(
      "div",
      { class: "ballot-bar", role: "group", "aria-label": t("ballot_choose"), "data-key": "choices" },
      CHOICES.map((choice) =>
        button(
          t(`ballot_choose_${choice}`),
          () => this.vote(choice),
          choice === "left" || choice === "right" ? "strong" : "",
          {
            disabled: this.busy,
            "data-key": choice,
          },
        ),
      ),
    );
  }

  after(result) {
    return h(
      "div",
      { class: "ballot-bar", "data-key": "after" },
      h("p", { class: "soft wide", role: "status" }, t(`ballot_took_${result.choice}`)),
      result.closed ? null : this.undoButton(),
      button(t("ballot_next"), () => this.next(), "strong ballot-next", { "data-key": "next" }),
    );
  }

  undoButton() {
    return button(t("ballot_undo"), () => this.undo(), "", {
      disabled: this.busy,
      title: t("ballot_undo_help"),
      "data-key": "undo",
    });
  }
}

define("ballot", (island) => {
  new Ballot(island);
});
