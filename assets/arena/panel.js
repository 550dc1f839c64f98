/* The arena's panel: joins form, panes, card, tree and the server. The parts are in this folder. */
import * as L from "../lib/api.js";
import { hearJobs } from "../lib/live.js";
import { Batch } from "./batch.js";
import { Card } from "./card.js";
import { Colour } from "./colour.js";
import { sentences } from "../lib/words.js";
import { bytes, calm, h, number, t } from "./dom.js";
import { Exchange } from "./exchange.js";
import { forkOf } from "./forks.js";
import { Form } from "./form.js";
import { remember, restore } from "./link.js";
import { Mistakes } from "./mistakes.js";
import { promptLines } from "./modes.js";
import { layPanes, markDifferences, othersThan, textOf } from "./panes.js";
import { Past } from "./past.js";
import { Prefer } from "./prefer.js";
import { approximationOf, progressOf } from "./progress.js";
import { Replay } from "./replay.js";
import { Run } from "./run.js";
import { Speaks } from "./speaks.js";
import { rating } from "./thumbs.js";
import { Trace } from "./trace.js";
import { Tree } from "./tree.js";
import { Warm } from "./warm.js";

const MENU_MS = 8000;
const STOP_MS = 1500;

class App {
  constructor({ el, props, trigger, server }) {
    this.props = props;
    this.trigger = trigger;
    this.server = server;
    this.readModels = L.newest(() => L.ask(server, "models"));
    this.trace = new Trace();
    this.ahead = new Warm(server);
    this.again = false;
    this.cards = /** @type {Map<string, any>} */ (new Map());
    this.run = /** @type {Run | null} */ (null);
    this.build(el);
    restore(this.form);
    this.loadModels();
    L.hear("arena-setup", (give) => give(this.setup())); // a vote is opened on what stands here
    L.hear("try-model", (wish) => this.tryModel(wish)); // a run's page asks for its model
    if (L.wanted.model) this.tryModel(L.wanted.model);
    hearJobs(["run"], () => this.loadModels(), this.root, MENU_MS); // its steps, too, are models to choose
    for (const told of ["run-ended", "starter", "models-changed"]) L.hear(told, () => this.loadModels());
    L.whenShown(this.root, () => this.loadModels());
  }

  build(element) {
    const known = this.props.value?.known || {}; // the settings with their limits
    this.form = new Form(
      {
        go: () => (this.run ? this.stop() : this.compare()),
        models: () => this.loadModels(),
        changed: () => this.remember(),
        stepped: () => this.stepped(),
        failed: (message) => this.showError({ message, hint: "" }),
      },
      known,
    );
    this.canPick = known.picks !== false;
    this.status = h("p", { class: "status", role: "status" });
    this.error = h("div", { class: "error", role: "alert", hidden: true });
    this.panes = h("div", { class: "lanes" });
    this.empty = h("p", { class: "nothing" }, t("empty"));
    this.tree = new Tree();
    this.mistakes = new Mistakes();
    this.replay = new Replay({ steps: () => this.trace.steps, draw: () => this.draw() });
    this.past = new Past({ show: (trace) => this.showTrace(trace), busy: () => Boolean(this.run) });
    this.exchange = new Exchange(this);
    this.colour = new Colour((mode) => this.recolour(mode));
    this.batch = new Batch();
    const choose = (id) => (this.form.chooseModels([id]), this.remember());
    const fetch = (id) => L.openPanel("train") && L.tell("model-wanted", id);
    this.speaks = new Speaks({ choose, fetch }, known.speakers);
    this.root = h(
      "div",
      { class: "arena" },
      this.form.element,
      this.speaks.element,
      this.toolbar(),
      this.past.element,
      this.error,
      this.empty,
      this.panes,
      this.tree.element,
      this.mistakes.element,
      this.batch.element,
    );
    this.card = new Card(this.root, {
      fork: (...what) => this.fork(...what),
      canFork: () => !this.run && Boolean(this.trace.meta),
      ask: (name, question) => L.ask(this.server, name, question),
    });
    this.prefer = new Prefer(this.server);
    this.colour.draw();
    element.replaceChildren(this.root);
  }

  toolbar() {
    return h(
      "div",
      { class: "toolbar" },
      this.status,
      this.replay.element,
      this.past.buttons,
      this.colour.element,
      this.exchange.element,
    );
  }

  // ---- running ----

  async compare() {
    if (!this.form.models) {
      this.say(t("waiting_start")); // the menu is on its way
      const { error } = await this.loadModels();
      this.say("");
      this.showError(error);
    }
    if (!this.form.models || this.run) return;
    this.form.freshenSeed();
    this.remember(false);
    const { modes } = this.form;
    const request = {
      model_ids: this.form.modelIds,
      prompt: this.form.promptValue(),
      settings: this.form.settings(),
      prefix_ids: [],
    };
    this.grid = null;
    try {
      if (modes.mode === "sweep") {
        this.grid = modes.grid();
        request.settings.lanes = this.grid.lanes;
      }
    } catch (error) {
      this.showError({ message: error.message, hint: "" });
      return;
    }
    if (modes.mode === "many") this.startBatch(request);
    else this.start(request, null);
  }

  /* Many prompts: their events draw the plots instead of panes. */
  startBatch({ prompt: _, prefix_ids: __, ...request }) {
    this.batch.clear();
    this.showBatch(true);
    const samples = Number(this.form.modes.samples.value) || 1;
    this.start(
      { ...request, model_ids: request.model_ids.slice(0, 1), prompts: promptLines(this.form.prompt.value), samples },
      null,
    );
  }

  showBatch(on) {
    this.batch.element.hidden = !on;
    this.panes.hidden = on;
    this.empty.hidden = this.empty.hidden || on;
    if (on) this.tree.element.hidden = this.mistakes.element.hidden = true;
    this.replay.element.hidden = on || !this.trace.steps;
    this.isBatch = on;
  }

  start(request, fork) {
    const run = new Run(fork);
    this.run = run;
    this.past.leave();
    this.showError(null);
    if (!request.prompts) this.replay.seek(null);
    this.form.running(true);
    this.say(t("waiting_start"));
    this.trigger(request.prompts ? "compare_many" : "compare", { ...request, run_id: run.id });
    run.follow((events) => this.take(run, events));
  }

  stop() {
    const { run } = this;
    if (!run) return;
    L.ask(this.server, "stop", { run_id: run.id });
    this.say(t("stopping"));
    setTimeout(() => {
      if (this.run === run && !run.begun) this.finish({ state: "stopped", seconds: 0 });
    }, STOP_MS);
  }

  take(run, events) {
    for (const event of events) if (this.run === run) this.event(event);
    if (this.run === run) this.draw();
  }

  event(event) {
    const { fork } = this.run;
    if (event.type === "queued") this.say(t("waiting_queue", { n: number(event.place), all: number(event.waiting) }));
    else if (event.type === "loading") this.say(t("loading", { model: event.title, size: bytes(event.bytes) }));
    else if (event.type === "waiting") this.say(t(event.preparing ? "waiting_weights" : "waiting_turn"));
    else if (event.type === "batch") {
      this.batch.add(event);
      this.say(t("batch_running", { n: number(event.done), all: number(event.total) }));
    } else if (event.type === "end" && this.isBatch) return this.finish(event);
    else if (event.type === "begin" || this.run.traced) this.trace.add(event, fork);
    if (event.type === "begin") this.begin();
    if (event.type === "end") this.finish(event);
  }

  finish(end) {
    const { fork, traced } = this.run;
    this.run.end();
    this.run = null;
    this.past.draw();
    this.form.running(false);
    if (this.again) setTimeout(() => this.compare());
    else this.warm(true);
    this.again = false;
    if (end.state === "failed") {
      this.showError(end);
      this.say("");
    } else {
      const took = { s: number(end.seconds, 1), n: number(traced ? this.trace.steps : 0) };
      const ended = t(this.isBatch && end.state === "done" ? "batch_done" : "end_" + end.state, took);
      const more = this.isBatch ? [] : [end.shared ? t("end_shared") : "", approximationOf(this.trace)];
      this.say(sentences(ended, ...more));
    }
    if (this.isBatch) return;
    if (end.state !== "failed" && traced && this.trace.steps) this.past.add(this.trace, Boolean(fork));
    this.paint();
    markDifferences(this.cards);
  }

  // ---- drawing ----

  begin() {
    this.empty.hidden = true;
    this.showBatch(false);
    if (this.run) this.run.traced = true;
    if (this.run && !this.run.fork) this.trace.grid = this.grid ? this.grid.columns : null;
    const hooks = {
      card: (...what) => this.card.show(...what),
      leave: () => this.card.leave(),
      reply: (lane) => this.reply(lane),
      copy: (lane) => this.exchange.copyText(lane),
      prefer: this.canPick ? (...what) => this.choosePair(...what) : null,
      rate: this.run ? rating(this.server, this.run.id, (text) => this.say(text)) : null,
    };
    this.cards = layPanes(this.panes, this.trace, hooks, this.colour.mode);
    if (this.run && this.panes.getBoundingClientRect().top > window.innerHeight - 120) {
      this.panes.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    }
  }

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.paint();
    });
  }

  paint() {
    const { trace } = this;
    if (!trace.meta) return;
    const steps = trace.steps;
    const n = this.replay.shown(steps);
    for (const card of this.cards.values()) card.draw(n, this.run && this.replay.at === null);
    if (this.isBatch) return;
    this.tree.draw(trace.grid ? [] : Array.from(trace.lanes.values()).filter((lane) => lane.isBeam), trace, n);
    this.mistakes.draw(trace.grid ? null : trace);
    this.replay.draw(n, steps);
    if (this.run && steps) this.say(progressOf(trace) || this.status.textContent);
  }

  say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  showError(given) {
    const error = given && this.form.named(given);
    this.error.hidden = !error;
    this.error.replaceChildren(
      ...(error ? [h("b", {}, error.message || t("failed")), " ", h("span", {}, error.hint || "")] : []),
    );
  }

  recolour(mode) {
    for (const card of this.cards.values()) card.colour(mode);
    this.root.classList.toggle("coloured", mode !== "none");
  }

  // ---- forks, turns and preferences ----

  fork(lane, index, id, only) {
    this.start(...forkOf(this.trace, lane, this.replay.at, index, id, only));
    this.form.go.focus({ preventScroll: true }); // the card that was chosen in has gone
  }

  /* A finished run's model beside its base, on a record that the run held out: the page before and after it. */
  async tryModel({ tuned, base, prompt, raw, messages, settings }) {
    L.wanted.model = null;
    this.form.chooseModels(base ? [base, tuned] : [tuned]);
    if (settings) this.form.setSettings(settings);
    if (messages) this.form.setPrompt({ messages });
    else if (prompt) this.form.setPrompt(raw ? { raw: prompt } : { messages: [{ role: "user", content: prompt }] });
    this.form.showUnusual();
    await this.loadModels();
    this.remember();
    if ((prompt || messages) && !this.run && this.form.modelIds.includes(tuned)) this.compare();
  }

  reply(lane) {
    const { prompt } = this.trace.meta;
    if (!prompt.messages) return;
    const turns = prompt.messages.filter((message) => message.role !== "system");
    this.form.setPrompt({
      messages: [
        ...prompt.messages.filter((message) => message.role === "system"),
        ...turns,
        { role: "assistant", content: textOf(lane) },
        { role: "user", content: "" },
      ],
    });
    this.form.prompt.focus();
    this.remember();
  }

  async choosePair(card, button) {
    const { trace } = this; // another comparison may begin before the answer comes
    const answer = await L.ask(this.server, "preference_sets");
    if (trace !== this.trace) return;
    const chosen = textOf(card.lane).trim();
    this.prefer.open(card.element, button, trace.meta.prompt, chosen, othersThan(card.lane, trace), answer.sets || []);
  }

  // ---- models and settings ----

  async loadModels() {
    const answer = await this.readModels();
    if (!answer.models) return answer;
    const before = this.form.modelIds.join();
    this.form.setModels(answer.models);
    if (this.form.modelIds.join() !== before) L.tell("arena-changed");
    this.speaks.draw(this.form);
    this.warm();
    return answer;
  }

  /* Whoever looks at the arena will press Compare, or move the slider: models are loaded meanwhile. */
  warm(anew = false) {
    const [first] = this.form.modelIds;
    if (!first || this.run || !L.visible(this.root)) return;
    this.ahead.want([first, ...this.form.steps.besides], this.form.settings().precision, anew);
  }

  /* Another step of a run's training was chosen: the same question to the model as it was then. */
  stepped() {
    this.remember(false); // what is loaded ahead waits for the answer
    if (this.form.modes.mode !== "one" || this.isBatch || !(this.run || this.trace.lanes.size)) return this.warm();
    if (!this.run) this.compare();
    else {
      this.again = true; // as soon as what is under way has stopped
      this.stop();
    }
  }

  showTrace(trace) {
    this.trace = trace;
    this.showError(null);
    this.form.setPrompt(trace.meta.prompt);
    this.form.setSettings(trace.grid ? { ...trace.meta.settings, lanes: null } : trace.meta.settings);
    this.replay.seek(null);
    this.begin();
    this.paint();
    markDifferences(this.cards);
  }

  setup() {
    const { form } = this;
    const titles = [form.modelA, form.modelB].map((menu) =>
      menu.value ? menu.selectedOptions[0]?.textContent || "" : "",
    );
    const prompts = form.raw.checked ? [] : [form.prompt.value.trim()].filter(Boolean);
    const models = titles.filter((title, index) => title && titles.indexOf(title) === index);
    return { model_ids: form.modelIds, models, settings: form.settings(), prompts };
  }

  remember(warm = true) {
    remember(this.form);
    this.speaks.draw(this.form);
    L.tell("arena-changed");
    if (warm) this.warm();
  }
}

L.define("arena", (island) => {
  const app = new App(island);
  Object.assign(app.root, { app }); // for the console
});
