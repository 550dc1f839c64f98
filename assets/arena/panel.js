/* The arena's panel: joins form, panes, card, tree and the server. The parts are in arena/. */
import * as L from "../lib/api.js";
import { Batch } from "./batch.js";
import { Card } from "./card.js";
import { calm, copy, h, number, t } from "./dom.js";
import { Form } from "./form.js";
import { clip } from "../lib/format.js";
import { LaneCard, duration, laneTitle } from "./lanes.js";
import { link, remember, restore } from "./link.js";
import { promptLines } from "./modes.js";
import { Prefer } from "./prefer.js";
import { Trace, differences } from "./trace.js";
import { Tree } from "./tree.js";

const QUIET_MS = 4000;
const MENU_MS = 8000;
const REPLAY_PER_SECOND = 10;
const APPROXIMATE = 1e-3;
const MOST_PAST = 12;

class App {
  constructor({ el, props, trigger, server, watch }) {
    this.props = props;
    this.trigger = trigger;
    this.server = server;
    this.trace = new Trace();
    this.again = false;
    this.cards = new Map();
    this.run = null;
    this.at = null; // the step that the slider shows; null: the newest
    this.past = []; // traces that were replaced, the newest last
    this.build(el);
    watch("value", () => this.receive(props.value));
    this.restore();
    this.loadModels();
    L.hear("arena-setup", (give) => give(this.setup())); // a vote is opened on what stands here
    L.hear("try-model", (wish) => this.tryModel(wish)); // a run's page asks for its model
    if (L.wanted.model) this.tryModel(L.wanted.model);
    setInterval(() => {
      if (L.visible(this.root)) this.loadModels();
    }, MENU_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.loadModels();
    });
  }

  build(element) {
    this.form = new Form(
      {
        go: () => (this.run ? this.stop() : this.compare()),
        models: () => this.loadModels(),
        changed: () => this.remember(),
        stepped: () => this.stepped(),
        failed: (message) => this.showError({ message, hint: "" }),
      },
      known(this.props.value),
    );
    this.canPick = known(this.props.value).picks !== false;
    this.status = h("p", { class: "status", role: "status" });
    this.error = h("div", { class: "error", role: "alert", hidden: true });
    this.panes = h("div", { class: "lanes" });
    this.empty = h("p", { class: "nothing" }, t("empty"));
    this.tree = new Tree();
    this.batch = new Batch();
    this.root = h(
      "div",
      { class: "arena" },
      this.form.element,
      this.toolbar(),
      this.error,
      this.empty,
      this.panes,
      this.tree.element,
      this.batch.element,
    );
    this.card = new Card(this.root, {
      fork: (...what) => this.fork(...what),
      canFork: () => !this.run && Boolean(this.trace.meta),
      ask: (name, question) => L.ask(this.server, name, question),
    });
    this.prefer = new Prefer({ save: (pair) => this.savePair(pair), train: (id) => this.trainOn(id) });
    this.colour.value = "probability";
    this.recolour();
    element.replaceChildren(this.root);
  }

  toolbar() {
    this.colour = h(
      "select",
      { id: "arena-colour", onchange: () => this.recolour() },
      ["none", "probability", "entropy"].map((mode) => h("option", { value: mode }, t("colour_" + mode))),
    );
    this.slider = h("input", {
      type: "range",
      min: "0",
      max: "1",
      value: "1",
      "aria-label": t("slider"),
      oninput: () => this.seek(Number(this.slider.value)),
    });
    this.moment = h("output", {});
    this.play = h(
      "button",
      { type: "button", class: "small", "aria-label": t("play"), title: t("play"), onclick: () => this.replay() },
      "▶",
    );
    const step = (by, sign, key) =>
      h(
        "button",
        { type: "button", class: "small", "aria-label": t(key), title: t(key), onclick: () => this.step(by) },
        sign,
      );
    this.replayBar = h(
      "div",
      { class: "replay", hidden: true },
      this.play,
      step(-1, "‹", "step_back"),
      this.slider,
      step(1, "›", "step_on"),
      this.moment,
    );
    this.legend = h("span", { class: "colour-legend" });
    this.earlier = h("select", {
      id: "arena-earlier",
      class: "earlier",
      "aria-label": t("earlier"),
      hidden: true,
      onchange: () => this.showPast(Number(this.earlier.value)),
    });
    this.back = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.goBack() }, t("back"));
    this.file = h("input", {
      type: "file",
      accept: ".json,application/json",
      hidden: true,
      onchange: () => this.importTrace(),
    });
    const act = (key, run) => h("button", { type: "button", class: "quiet", onclick: run }, t(key));
    this.acts = h(
      "div",
      { class: "actions" },
      act("copy_link", () => this.copyLink()),
      act("copy_python", () => this.copyPython()),
      act("export", () => this.exportTrace()),
      act("import", () => this.file.click()),
      this.file,
    );
    return h(
      "div",
      { class: "toolbar" },
      this.status,
      this.replayBar,
      this.back,
      this.earlier,
      h("label", { class: "colour" }, t("colour"), " ", this.colour, this.legend),
      this.acts,
    );
  }

  // ---- running ----

  compare() {
    this.form.freshenSeed();
    this.remember();
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
    if (on) this.tree.element.hidden = true;
    this.replayBar.hidden = on || !this.trace.steps;
    this.isBatch = on;
  }

  start(request, fork) {
    const runId = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("");
    this.keepPast();
    this.run = { id: runId, next: 0, fork, heard: Date.now(), fresh: !fork };
    this.showError(null);
    if (!request.prompts) this.seek(null);
    this.form.running(true);
    this.say(t("waiting_start"));
    this.trigger(request.prompts ? "compare_many" : "compare", { ...request, run_id: runId });
    this.watchdog = setInterval(() => this.check(), 1000);
  }

  stop() {
    if (!this.run) return;
    L.ask(this.server, "stop", { run_id: this.run.id });
    this.say(t("stopping"));
    const { id } = this.run;
    setTimeout(() => {
      if (this.run && this.run.id === id && !this.run.next) this.finish({ state: "stopped", seconds: 0 });
    }, 1500);
  }

  /* A frame from the server: {run, from, events}; frames overlap, so that one that the page skipped is no loss. */
  receive(text) {
    if (typeof text !== "string" || !text) return;
    const frame = JSON.parse(text);
    if (!this.run || frame.run !== this.run.id) return;
    if (frame.from > this.run.next) {
      this.fetchMissed();
      return;
    }
    this.take(frame.events.slice(this.run.next - frame.from));
  }

  take(events) {
    if (!events.length || !this.run) return;
    this.run.heard = Date.now();
    this.run.next += events.length;
    for (const event of events) this.event(event);
    this.draw();
  }

  event(event) {
    if (!this.run) return;
    const { fork } = this.run;
    if (event.type === "loading") this.say(t("loading", { model: event.title, mb: number(event.bytes / 2 ** 20) }));
    else if (event.type === "waiting") this.say(t("waiting_turn"));
    else if (event.type === "batch") {
      this.batch.add(event);
      this.say(t("batch_running", { n: number(event.done), all: number(event.total) }));
    } else if (event.type === "end" && this.isBatch) return this.finish(event);
    else this.trace.add(event, fork);
    if (event.type === "begin") this.begin();
    if (event.type === "end") this.finish(event);
  }

  async fetchMissed() {
    const { id, next } = this.run;
    const answer = await L.ask(this.server, "missed", { run_id: id, next });
    if (!this.run || this.run.id !== id) return;
    if (answer.lost) this.finish({ state: "failed", message: answer.error.message, hint: "", seconds: 0 });
    else if (answer.frame && this.run.next === next) this.receive(answer.frame);
    else if (answer.refused) this.finish({ state: "failed", message: answer.refused, hint: "", seconds: 0 });
    else if (!next)
      this.say(
        answer.place
          ? t("waiting_queue", { n: number(answer.place), all: number(answer.waiting) })
          : t("waiting_place"),
      );
  }

  /* Asks after a run that is silent: an update may be lost, or the server may be gone. */
  check() {
    if (!this.run || Date.now() - this.run.heard < QUIET_MS) return;
    this.run.heard = Date.now();
    this.fetchMissed();
  }

  finish(end) {
    clearInterval(this.watchdog);
    this.run = null;
    this.form.running(false);
    if (this.again) setTimeout(() => this.compare());
    this.again = false;
    if (end.state === "failed") {
      this.showError(end);
      this.say("");
    } else
      this.say(
        t(this.isBatch && end.state === "done" ? "batch_done" : "end_" + end.state, {
          s: number(end.seconds, 1),
          n: number(this.trace.steps),
        }) + this.approximation(),
      );
    if (this.isBatch) return;
    this.paint();
    this.compareModels();
  }

  // ---- drawing ----

  begin() {
    this.empty.hidden = true;
    this.showBatch(false);
    if (this.run && !this.run.fork) this.trace.grid = this.grid ? this.grid.columns : null;
    const { lanes, meta } = this.trace;
    this.cards.clear();
    const parts = [];
    const two = meta.models.length > 1;
    meta.models.forEach((model, index) => {
      if (two)
        parts.push(h("h2", { class: "modelname" }, model.title, h("small", {}, `${model.dtype} · ${model.device}`)));
      else parts.push(h("h2", { class: "unseen" }, model.title));
      for (const lane of lanes.values()) {
        if (lane.info.model !== index) continue;
        const card = new LaneCard(lane, this.trace, {
          card: (...what) => this.card.show(...what),
          leave: () => this.card.leave(),
          reply: (chosen) => this.reply(chosen),
          copy: (chosen) => this.copyText(chosen),
          prefer: this.canPick ? (...what) => this.choosePair(...what) : null,
        });
        card.colour(this.colour.value);
        this.cards.set(lane.info.id, card);
        parts.push(card.element);
      }
    });
    this.panes.replaceChildren(...parts);
    if (this.run && this.panes.getBoundingClientRect().top > window.innerHeight - 120) {
      this.panes.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    }
    this.panes.classList.toggle("grid", Boolean(this.trace.grid));
    this.panes.style.setProperty("--columns", String(this.trace.grid || 4));
    this.panes.dataset.count = String(Array.from(lanes.values()).filter((lane) => lane.info.model === 0).length);
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
    const n = this.at === null ? steps : Math.min(this.at, steps);
    for (const card of this.cards.values()) card.draw(n, this.run && this.at === null);
    if (this.isBatch) return;
    this.tree.draw(trace.grid ? [] : Array.from(trace.lanes.values()).filter((lane) => lane.isBeam), trace, n);
    this.replayBar.hidden = steps === 0;
    this.slider.max = String(Math.max(1, steps));
    this.slider.value = String(n);
    this.moment.textContent = t("moment", { n: number(n), all: number(steps) });
    if (this.run && steps) this.sayProgress(steps);
  }

  sayProgress(steps) {
    const { trace } = this;
    const time = trace.times[trace.times.length - 1];
    if (!time) return;
    this.say(
      t("running", {
        n: number(steps),
        all: number(trace.meta.settings.max_new_tokens),
        first: duration(trace.times[0].t),
        s: number(time.t, 1),
      }),
    );
  }

  /* int8 weights and the like are an approximation: how far off they are stands beside what they said. */
  approximation() {
    const forward = this.trace.meta && !this.isBatch && this.trace.meta.models[0].forward;
    if (forward && forward.note) return ` ${forward.note}`;
    if (!forward || !forward.error || forward.error < APPROXIMATE) return "";
    return " " + t("approximate", { form: forward.form, e: number(100 * forward.error, 1) });
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

  /* Which way is dark, in the strategies' own shades. */
  drawLegend() {
    const mode = this.colour.value;
    const shade = (share) => h("i", { style: `--a:${share}` });
    const scale = [t("legend_" + mode + "_low"), ...[6, 18, 32, 46].map(shade), t("legend_" + mode + "_high")];
    this.legend.replaceChildren(...(mode === "none" ? [] : scale));
  }

  recolour() {
    this.drawLegend();
    for (const card of this.cards.values()) card.colour(this.colour.value);
    this.root.classList.toggle("coloured", this.colour.value !== "none");
  }

  /* Marks the tokens in which two models differ, lane by lane. */
  compareModels() {
    for (const card of this.cards.values()) {
      if (card.lane.info.model !== 0) continue;
      const other = this.cards.get("1:" + card.lane.info.name);
      if (!other) continue;
      const [here, there] = differences(
        card.shown.map((token) => token.s),
        other.shown.map((token) => token.s),
      );
      card.mark(here);
      other.mark(there);
    }
  }

  // ---- time ----

  seek(n) {
    this.at = n === null || n >= this.trace.steps ? null : n;
    if (this.timer && n === null) this.replay();
    this.draw();
  }

  /* One step of all lanes, on or back. */
  step(by) {
    const { steps } = this.trace;
    if (this.timer) this.replay();
    const at = this.at === null ? steps : this.at;
    this.seek(Math.max(0, Math.min(steps, at + by)));
  }

  replay() {
    if (this.timer) {
      clearInterval(this.timer);
      this.timer = null;
    } else if (this.trace.steps) {
      let n = this.at === null ? 0 : this.at;
      this.timer = setInterval(() => {
        n += 1;
        if (n >= this.trace.steps) this.seek(null);
        else this.seek(n);
      }, 1000 / REPLAY_PER_SECOND);
    }
    this.play.textContent = this.timer ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", t(this.timer ? "pause" : "play"));
  }

  // ---- what was there before ----

  /* Keeps what is shown, so that a fork or another comparison can be taken back. */
  keepPast() {
    if (!this.trace.meta || this.isBatch) return;
    const { trace } = this;
    this.past.push(trace.copy());
    if (this.past.length > MOST_PAST) this.past.shift();
    this.listPast();
  }

  listPast() {
    const said = ({ meta }, at) => {
      const text = meta.prompt.raw ?? meta.prompt.messages?.at(-1)?.content ?? "";
      return h("option", { value: String(at) }, t("earlier_one", { prompt: clip(text, 40), seed: String(meta.seed) }));
    };
    this.earlier.replaceChildren(h("option", { value: "-1" }, t("earlier")), ...this.past.map(said).reverse());
    this.earlier.hidden = this.back.hidden = !this.past.length;
  }

  showPast(at) {
    if (this.run || !this.past[at]) return;
    const [trace] = this.past.splice(at, 1);
    this.keepPast();
    this.showTrace(trace);
    this.listPast();
  }

  goBack() {
    if (this.run) return;
    const trace = this.past.pop();
    if (trace) this.showTrace(trace);
    this.listPast();
  }

  // ---- forks and turns ----

  /* All lanes, or only this one, go on from the first `index` tokens of `lane` and then `id`. */
  fork(lane, index, id, only) {
    const { meta } = this.trace;
    const view = lane.view(this.at === null ? lane.length : this.at);
    const chosen = view[index];
    const name = this.trace.name(lane.info.model, id);
    const prefix = view.slice(0, index).map((token) => ({ ...token, forked: token.forked || false }));
    prefix.push({ ...chosen, i: id, s: name, forked: true, l: logprobOf(chosen, id) });
    const lanes = only ? [laneValue(lane.info)] : meta.settings.lanes.map(laneValue);
    const models = meta.models.map((model) => model.id);
    this.start(
      {
        model_ids: only ? [models[lane.info.model]] : models,
        prompt: meta.prompt,
        prefix_ids: prefix.map((token) => token.i),
        settings: { ...meta.settings, lanes },
      },
      { prefix, only: only ? lane.info.id : null, model: only ? lane.info.model : null },
    );
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

  link() {
    return link(this.form);
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

  // ---- preferences ----

  async choosePair(card, button) {
    const { prompt, models } = this.trace.meta;
    const chosen = textOf(card.lane).trim();
    const rest = Array.from(this.trace.lanes.values())
      .filter((lane) => lane !== card.lane)
      .map((lane) => ({
        title: laneTitle(lane.info) + (models.length > 1 ? " · " + models[lane.info.model].title : ""),
        strategy: lane.info.strategy,
        text: textOf(lane).trim(),
      }))
      .filter((other) => other.text && other.text !== chosen);
    const answer = await L.ask(this.server, "preference_sets");
    this.prefer.open(card.element, button, prompt, chosen, rest, answer.sets || []);
  }

  async savePair(pair) {
    const answer = await L.ask(this.server, "prefer", pair);
    if (!answer.error) L.tell("preference-added", answer.dataset_id);
    return answer;
  }

  trainOn(datasetId) {
    L.tell("train-on", datasetId);
    L.openPanel("train");
  }

  // ---- in and out ----

  async loadModels() {
    const answer = await L.ask(this.server, "models");
    if (!answer.models) return;
    const before = this.form.modelIds.join();
    this.form.setModels(answer.models);
    if (this.form.modelIds.join() !== before) L.tell("arena-changed");
    this.warm();
  }

  /* Whoever looks at the arena will press Compare: the model is loaded meanwhile. */
  warm() {
    const [model_id] = this.form.modelIds;
    const { precision } = this.form.settings();
    if (!model_id || this.warmed === model_id + precision || !L.visible(this.root)) return;
    this.warmed = model_id + precision;
    L.ask(this.server, "warm", { model_id, precision });
  }

  async tell(work, key) {
    try {
      await work;
      this.say(t(key));
    } catch (error) {
      this.showError({
        message: error.message && error.message !== "clipboard" ? error.message : t("no_clipboard"),
        hint: "",
      });
    }
  }

  /* Another step of a run's training was chosen: the same question to the model as it was then. */
  stepped() {
    this.remember();
    if (this.form.modes.mode !== "one" || this.isBatch || !(this.run || this.trace.lanes.size)) return;
    if (!this.run) this.compare();
    else {
      this.again = true; // as soon as what is under way has stopped
      this.stop();
    }
  }

  copyText(lane) {
    this.tell(copy(textOf(lane)), "copied_text");
  }
  copyLink() {
    this.tell(copy(link(this.form)), "copied_link");
  }
  copyPython() {
    const request = { model_ids: this.form.modelIds, prompt: this.form.promptValue(), settings: this.form.settings() };
    const fetched = L.ask(this.server, "python", request).then((answer) => {
      if (answer.error) throw new Error(answer.error.message);
      return copy(answer.code);
    });
    this.tell(fetched, "copied_python");
  }

  exportTrace() {
    if (this.isBatch && this.batch.last) {
      L.save("batch.json", "application/json", JSON.stringify(this.batch));
      return;
    }
    if (!this.trace.meta) {
      this.say(t("nothing_to_export"));
      return;
    }
    L.save(`trace-${this.trace.meta.seed}.json`, "application/json", JSON.stringify(this.trace));
  }

  async importTrace() {
    const file = this.file.files[0];
    this.file.value = "";
    if (!file || this.run) return;
    try {
      if (file.size > 64 * 2 ** 20) throw new Error("trace");
      this.showTrace(Trace.parse(await file.text()));
      this.say(t("imported", { name: file.name }));
    } catch {
      this.showError({ message: t("bad_trace", { name: file.name }), hint: t("bad_trace_hint") });
    }
  }

  showTrace(trace) {
    this.trace = trace;
    this.showError(null);
    this.form.setPrompt(trace.meta.prompt);
    this.form.setSettings(trace.grid ? { ...trace.meta.settings, lanes: null } : trace.meta.settings);
    this.seek(null);
    this.begin();
    this.paint();
    this.compareModels();
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

  remember() {
    remember(this.form);
    L.tell("arena-changed");
    this.warm();
  }

  restore() {
    restore(this.form);
  }
}

/* Before the first run the island's value holds the settings with their limits, as JSON. */
const known = (value) => {
  try {
    return JSON.parse(value).known || {};
  } catch {
    return {};
  }
};

const laneValue = ({ name, strategy, ...values }) => {
  const { id, model, ...rest } = values;
  return { name, strategy, ...rest };
};
const textOf = (lane) =>
  lane.end
    ? lane.end.text
    : lane
        .view(lane.length)
        .map((token) => token.s)
        .join("");
const logprobOf = (token, id) => {
  const row = token.a.find((item) => item[0] === id);
  return row ? row[1] : token.l;
};

L.define("arena", (island) => {
  const app = new App(island);
  Object.assign(app.root, { app }); // for the console
});
