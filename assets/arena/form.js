/* What a person sets: prompt, turns, models, numbers. Reads and writes itself as plain values; starts nothing. */
import { constraintFields, constraintOf, FREE } from "./constraints.js";
import { h, shape, t } from "./dom.js";
import { help } from "./help.js";
import { Modes, oneLine } from "./modes.js";
import { MoreLanes } from "./more-lanes.js";
import { numberInput } from "./number-input.js";
import { penaltiesAreSet, penaltyFields } from "./penalties.js";
import { fitFields, RARE, rareFields, showChosen } from "./rare-lanes.js";
import { partsOf } from "../lib/kept-steps.js";
import { StepSlider } from "./step-slider.js";
import { inFormsNames, modelTitle, presets } from "./presets.js";
import { Turns } from "./turns.js";

const MAIN = ["temperature", "top_k", "top_p", "num_beams", "max_new_tokens", "seed"];
const COMMON = ["greedy", "top_k", "top_p", "beam", "min_p", "sample"];
const LANES = [...COMMON, ...RARE];
const DEFAULT_LANES = LANES.slice(0, 4);

export class Form {
  /** What the field of prompts holds in the other mode. @type {string | undefined} */
  otherPrompt = undefined;
  /** Whether the system turn is there without a text. */
  emptySystem = false;

  /* hooks {go(), models(), changed(), stepped(), failed(sentence)}; known {settings: {key: {kind, low, high,
     default, choices}}} */
  constructor(hooks, known) {
    this.hooks = hooks;
    this.spec = known.settings;
    this.turns = new Turns(() => this.hooks.changed());
    this.inputs = {};
    this.build();
  }

  build() {
    this.prompt = h("textarea", {
      id: "arena-prompt",
      rows: 2,
      "data-testid": "arena-prompt",
      "aria-label": t("prompt"),
      placeholder: t("prompt_placeholder"),
      dir: "auto",
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          this.hooks.go();
        }
      },
      oninput: () => this.hooks.changed(),
    });
    this.go = h("button", { type: "button", class: "run", onclick: () => this.hooks.go() }, t("compare"));
    this.modes = new Modes((mode) => this.takeMode(mode));
    this.modes.file.addEventListener("change", () => this.readPrompts());
    this.presets = h(
      "div",
      { class: "presets", role: "group", "aria-label": t("presets") },
      h("span", {}, t("try")),
      presets().map((preset) =>
        h("button", { type: "button", class: "chip", onclick: () => this.usePreset(preset) }, preset.title),
      ),
    );
    this.modelA = this.menu("model", t("set_label_model"));
    this.modelB = this.menu("beside", t("set_label_beside"), "nothing");
    this.steps = new StepSlider(() => this.hooks.stepped());
    for (const select of [this.modelA, this.modelB]) select.addEventListener("change", () => this.followSteps());
    const row = h(
      "div",
      { class: "settings" },
      this.field("model", this.modelA),
      this.field("beside", this.modelB),
      MAIN.map((key) => this.number(key)),
    );
    row.lastChild.append(this.freshSeed());
    this.more = h("details", { class: "more" }, h("summary", {}, t("more")), this.moreBody());
    this.element = h(
      "div",
      { class: "form-body" },
      this.modes.element,
      this.turns.element,
      h("div", { class: "ask" }, this.prompt, this.go),
      this.presets,
      row,
      this.steps.element,
      this.more,
    );
    for (const key of ["vote_on", "assistant_model_id"])
      this.inputs[key].addEventListener("change", () => fitFields(this));
    fitFields(this);
    this.system.addEventListener("input", () => {
      this.emptySystem = false;
      this.hooks.changed();
    });
  }

  /* The prompt's field takes one prompt, or one a line. */
  takeMode(mode) {
    const many = mode === "many";
    this.element.classList.toggle("is-many", many);
    this.element.classList.toggle("is-sweep", mode === "sweep");
    this.prompt.rows = many ? 6 : 2;
    this.prompt.placeholder = t(many ? "prompts_placeholder" : "prompt_placeholder");
    this.prompt.setAttribute("aria-label", t(many ? "prompts" : "prompt"));
    if (many === Boolean(this.isMany)) return;
    this.isMany = many;
    const examples = presets()
      .filter((preset) => !preset.raw)
      .map((preset) => oneLine(preset.prompt));
    const other = this.otherPrompt === undefined ? examples.join("\n") : this.otherPrompt;
    [this.prompt.value, this.otherPrompt] = [other, this.prompt.value];
  }

  async readPrompts() {
    try {
      this.prompt.value = (await this.modes.read()).join("\n") || this.prompt.value;
    } catch (error) {
      this.hooks.failed(error.message);
    }
  }

  moreBody() {
    this.raw = h("input", {
      type: "checkbox",
      onchange: () => {
        this.showMode();
        this.hooks.changed();
      },
    });
    this.system = h("textarea", { rows: 2, id: "arena-system", placeholder: t("system_placeholder"), dir: "auto" });
    this.lanes = {};
    this.moreLanes = new MoreLanes(() => this.hooks.changed());
    const lane = (strategy) => {
      const box = (this.lanes[strategy] = h("input", {
        type: "checkbox",
        checked: DEFAULT_LANES.includes(strategy),
        onchange: () => this.hooks.changed(),
      }));
      return h("label", { class: "check" }, box, shape(strategy), t("name_" + strategy));
    };
    return h(
      "div",
      { class: "morebody" },
      h(
        "div",
        { class: "lanepick", role: "group", "aria-label": t("lanes") },
        h("span", { class: "label" }, t("lanes")),
        COMMON.map(lane),
        this.help("lanes"),
        this.moreLanes.element,
      ),
      h(
        "div",
        { class: "settings" },
        this.number("min_p"),
        this.number("length_penalty"),
        this.choice("early_stopping"),
        this.choice("filter_order"),
        this.choice("precision"),
        h("div", { class: "aset" }, h("label", { class: "check" }, this.raw, t("raw")), this.help("raw")),
      ),
      ...(this.rare = rareFields(this, lane)),
      (this.forms = constraintFields(this)),
      (this.penalties = penaltyFields(this)),
      h("div", { class: "system" }, h("label", { for: "arena-system" }, t("system")), this.help("system"), this.system),
    );
  }

  field(key, control) {
    return h(
      "div",
      { class: "aset", "data-key": key },
      h("label", { for: control.id }, t("set_label_" + key)),
      control,
      this.help(key),
    );
  }

  number(key) {
    const input = numberInput(key, this.spec[key], () => this.hooks.changed());
    this.inputs[key] = input;
    return this.field(key, input);
  }

  /* A menu of the models, for one that helps. */
  modelField(key) {
    const select = this.menu(key, t("set_label_" + key), "none_" + key);
    select.write = (value) => Object.assign(select, { wanted: value, value });
    select.read = () => (this.known ? select.value : select.wanted || select.value); // until the menu is there
    select.addEventListener("change", () => (select.wanted = null));
    this.inputs[key] = select;
    return this.field(key, select);
  }

  choice(key) {
    const select = h(
      "select",
      { id: "arena-" + key, onchange: () => this.hooks.changed() },
      this.spec[key].choices.map((value) => h("option", { value: String(value) }, t("choice_" + key + "_" + value))),
    );
    this.inputs[key] = select;
    return this.field(key, select);
  }

  text(key) {
    const input = h("input", { type: "text", id: "arena-" + key, dir: "ltr", onchange: () => this.hooks.changed() });
    input.placeholder = t("placeholder_" + key);
    this.inputs[key] = input;
    return this.field(key, input);
  }

  freshSeed() {
    this.fresh = h("input", { type: "checkbox", onchange: () => this.hooks.changed() });
    return h("label", { class: "check fresh" }, this.fresh, t("fresh"));
  }

  help(key) {
    return help(key);
  }

  // ---- models ----

  /* `empty`: the word for none, where there may be none. */
  menu(key, label, empty) {
    const select = h("select", { id: "arena-" + key, "aria-label": label, onchange: () => this.hooks.changed() });
    if (empty) select.append((select.none = h("option", { value: "" }, t(empty))));
    for (const kind of ["focus", "pointerenter"]) select.addEventListener(kind, () => this.hooks.models());
    return select;
  }

  /* Fills both menus, keeping what is chosen. */
  setModels(models) {
    const key = JSON.stringify(models);
    if (key === this.known) return;
    this.known = key;
    this.models = models;
    const { assistant_model_id, reward_model_id } = this.inputs;
    for (const select of [this.modelA, this.modelB, assistant_model_id, reward_model_id]) {
      const wanted = select.wanted || select.value;
      const fitting = models.filter((model) => (model.task === "reward") === (select === reward_model_id));
      const options = fitting.map((model) =>
        h("option", { value: model.id, disabled: !model.ready }, modelTitle(model)),
      );
      select.replaceChildren(...(select.none ? [select.none] : []), ...options);
      if (fitting.some((model) => model.id === wanted)) {
        select.value = wanted;
        select.wanted = null;
      } else if (select !== this.modelA) select.value = "";
    }
    this.followSteps();
  }

  /* The slider shows the steps that the run of the first model that has any kept. */
  followSteps() {
    const chosen = [this.modelA.value, this.modelB.value];
    const known = chosen.map((id) => (this.models || []).find((each) => each.id === id));
    const model = known.find((each) => each?.steps);
    this.steps.follow(model?.id || "", model?.steps || [], this.wantedStep ?? null);
    if (model) this.wantedStep = null;
  }

  get modelIds() {
    const at = (id) => (id && id === this.steps.id ? this.steps.modelId : id);
    return [at(this.modelA.value), at(this.modelB.value)].filter((id, index, all) => id && all.indexOf(id) === index);
  }
  chooseModels(ids) {
    const parts = [partsOf(ids[0]), partsOf(ids[1])];
    this.wantedStep = parts.find(({ step }) => step !== null)?.step ?? null;
    parts.forEach(({ id }, index) => {
      const select = [this.modelA, this.modelB][index];
      select.wanted = id || "";
      select.value = id || (index ? "" : select.value);
    });
    this.followSteps();
  }

  // ---- the prompt ----

  usePreset(preset) {
    this.turns.set([]);
    this.raw.checked = Boolean(preset.raw);
    this.setSystem(preset.system || undefined);
    this.showMode();
    this.prompt.value = preset.prompt;
    this.prompt.focus();
    this.hooks.changed();
  }

  /* A record may have a system turn without a text: it is sent too, as it was trained, until the field is typed in. */
  setSystem(content) {
    this.system.value = content || "";
    this.emptySystem = typeof content === "string" && !content.trim();
  }

  showMode() {
    this.element.classList.toggle("is-raw", this.raw.checked);
  }

  // ---- as values ----

  promptValue() {
    if (this.raw.checked) return { raw: this.prompt.value };
    const system = this.emptySystem || this.system.value.trim() ? [{ role: "system", content: this.system.value }] : [];
    return { messages: [...system, ...this.turns.turns, { role: "user", content: this.prompt.value }] };
  }

  settings() {
    const values = {};
    for (const [key, input] of Object.entries(this.inputs)) values[key] = this.value(key, input);
    values.early_stopping = { false: false, true: true, never: "never" }[values.early_stopping];
    values.lanes = [
      ...LANES.filter((strategy) => this.lanes[strategy].checked),
      ...this.moreLanes.values(freedOf(values)),
    ];
    return values;
  }

  value(key, input) {
    if (input.read) return input.read();
    if (input.type !== "number") return input.value;
    return input.value.trim() ? Number(input.value) : this.spec[key].default;
  }

  freshenSeed() {
    if (!this.fresh.checked) return;
    this.inputs.seed.value = String(Math.floor(Math.random() * 1e6));
    this.inputs.seed.fit();
  }

  setSettings(values) {
    for (const [key, input] of Object.entries(this.inputs)) {
      if (values[key] === undefined || values[key] === null) continue;
      if (input.write) input.write(values[key]);
      else input.value = String(values[key]);
      if (input.fit) input.fit();
    }
    if (Array.isArray(values.lanes)) {
      const own = (lane) => typeof lane === "string" || !lane || !lane.name || lane.name === lane.strategy;
      const names = values.lanes.filter(own).map((lane) => (lane && lane.strategy) || lane);
      for (const strategy of LANES) this.lanes[strategy].checked = names.includes(strategy);
      this.moreLanes.set(
        values.lanes.filter((lane) => !own(lane)),
        values,
      );
    }
  }

  setPrompt(value) {
    this.turns.set([]);
    this.raw.checked = value.raw !== undefined && value.raw !== null;
    this.showMode();
    if (this.raw.checked) {
      this.prompt.value = String(value.raw);
      return;
    }
    const messages = (value.messages || []).filter((message) => message && typeof message.content === "string");
    const system = messages.find((message) => message.role === "system");
    this.setSystem(system?.content);
    const rest = messages.filter((message) => message !== system);
    const last = rest.pop();
    this.prompt.value = last ? last.content : "";
    this.turns.set(rest);
  }

  /* What is set below "More settings" and changes what is seen must not be hidden. */
  showUnusual() {
    const set = penaltiesAreSet(this);
    fitFields(this);
    const rare = showChosen(this.rare, this.lanes);
    if (set) this.penalties.open = true;
    const held = (this.forms.open ||= this.forms.isOn());
    if (set || held || rare || this.moreLanes.rows.length || this.raw.checked || this.system.value.trim())
      this.more.open = true;
  }

  /* An error with this form's names for the settings that it is about, whose fields are marked. */
  named(error) {
    const [said, wrong] = inFormsNames(error, Object.keys(this.spec));
    for (const [key, input] of Object.entries(this.inputs)) {
      if (wrong.includes(key)) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
    return said;
  }

  running(on) {
    if (on) for (const input of Object.values(this.inputs)) input.removeAttribute("aria-invalid");
    this.go.textContent = t(on ? "stop" : "compare");
    this.go.classList.toggle("stop", on);
  }
}

/* What a lane that is free of the form says: the key that is on, switched off. */
function freedOf(values) {
  const on = constraintOf(values);
  return on ? { [on]: FREE[on] } : null;
}
