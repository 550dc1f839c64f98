/* The train panel's form: what to train on what, settings with "?", the memory it will take, Start. It follows the task
   of the chosen data, and is the base of races and searches. */
import {
  ask as call,
  button,
  choice,
  define,
  entry,
  h,
  hear,
  help,
  labelled,
  menu,
  newest,
  notice,
  setTitles,
  show,
  t,
  tell,
} from "../lib/panel.js";
import { architectureFold } from "./architecture.js";
import { goalField, longest, probes, shareControl } from "./controls.js";
import { controlOf, defaultsFor, errorOfField, fits, NAME, NAMED, needed, settingsForForm, WORDED } from "./fields.js";
import { memoryForecast, summaryLine } from "./forecast.js";
import { Presets } from "./presets.js";

/** What races and searches take as their base: filled when the form is drawn. @type {Record<string, any>} */
export const trainForm = {};

const SAMPLE = "sample";
const OTHER = "+"; // "another model" in the menu of models
const NEW = "new"; // a new model in it: the task pretrain
const PREDICT_MS = 350;

define("train-form", ({ el, server }) => {
  const state = {
    choices: null,
    config: { dataset_id: null, model_id: "starter", method: "galore" },
    changed: {},
    open: false,
    predicted: null,
    error: null,
    field: null, // the setting that the error is about
    busy: false,
    awaited: "", // data that Train was opened for and that is not on the menu yet
    other: false,
    otherName: "",
    goal: "", // what is learned from the data, where there is a choice
    inside: null, // the parts of the chosen model, where its picture is open
  };
  const ask = (name, data) => call(server, name, data);
  const setOf = (id) => state.choices.data_sets.find((set) => set.dataset_id === id);
  const dataTask = () => (state.choices && setOf(state.config.dataset_id)?.task) || "chat";
  const isNew = () => state.config.model_id === NEW && dataTask() === "text";
  const goals = () => state.choices?.tasks[dataTask()] || [];
  const task = () => (isNew() ? "pretrain" : goals().includes(state.goal) ? state.goal : dataTask());
  const defaults = (method = state.config.method, by = state.changed) => defaultsFor(state.choices, task(), method, by);
  const settings = () => ({ ...NAME, ...state.choices?.settings });
  const isThere = (key) =>
    fits(settings()[key], state.config.method, task()) &&
    needed(key, { ...defaults(), ...state.changed, asked: state.predicted?.asked });

  // Instruction data to be measured on; for replay raw text as well, but not the data that is trained.
  const others = (key) =>
    state.choices.data_sets.filter(
      (set) =>
        set.dataset_id !== state.config.dataset_id &&
        (set.task === "chat" || (set.task === "text" && key === "replay_dataset_id")),
    );
  // What was changed counts only where the setting exists: another method or task keeps it in mind.
  const counts = ([key, value]) => {
    const setting = settings()[key];
    if (!setting) return key in defaults();
    if (!isThere(key)) return false;
    return setting.widget !== "dataset" || value === "none" || others(key).some((set) => set.dataset_id === value);
  };
  const changed = () => Object.fromEntries(Object.entries(state.changed).filter(counts));
  const wanted = () => ({
    ...state.config,
    ...(state.config.model_id === NEW ? { model_id: undefined } : {}),
    ...(task() === dataTask() ? {} : { task: task() }),
    ...changed(),
  });

  const fail = (error) => {
    const found = error
      ? errorOfField(error, Object.keys(settings()), (key) => t(`f_${key}`))
      : { field: null, error: null };
    Object.assign(state, found);
    if (found.field) state.open = true;
    if (state.choices) draw();
    else show(el, notice(found.error));
  };

  Object.assign(trainForm, {
    slot: Object.assign(document.createElement("div"), { className: "more" }),
    wanted,
    task,
    defaults,
    waits: () => state.busy || Boolean(state.awaited),
    method: () => state.config.method,
    seconds: () => state.predicted?.seconds || null,
    fail,
  });

  const read = newest(() => ask("choices"));
  const load = async (datasetId) => {
    state.awaited = datasetId || state.awaited; // nothing is started on other data meanwhile
    if (datasetId && state.choices) draw();
    const choices = await read();
    const isAwaited = datasetId && state.awaited === datasetId; // else something else was chosen meanwhile
    if (isAwaited) state.awaited = "";
    if (choices.error) return fail(choices.error);
    state.choices = choices;
    if (isAwaited) state.config.dataset_id = datasetId;
    if (!setOf(state.config.dataset_id)) state.config.dataset_id = choices.data_sets[0]?.dataset_id || SAMPLE;
    const known = isNew() || choices.models.some((model) => model.id === state.config.model_id);
    if (!known) state.config.model_id = "starter";
    draw();
    predict();
  };

  const foretold = newest(() => ask("predict", wanted()));
  let timer, said; // said: the error of a forecast
  const predict = () => {
    clearTimeout(timer);
    const { error } = state;
    timer = setTimeout(async () => {
      const answer = await foretold();
      state.predicted = answer.error ? null : answer;
      const wrong = answer.error && !answer.lost ? answer.error : null;
      if (wrong || [error, said].includes(state.error)) fail(wrong);
      else draw(); // a start was refused meanwhile, whose error stays
      if (wrong) said = state.error;
    }, PREDICT_MS);
  };
  const change = (more, goal = state.goal) => {
    Object.assign(state.config, more);
    Object.assign(state, { goal, awaited: more.dataset_id ? "" : state.awaited });
    draw();
    predict();
  };
  const keep = (key, given) => {
    const usual = given === defaults()[key] || given === "" || Number.isNaN(given);
    if (usual) delete state.changed[key];
    else state.changed[key] = given;
    change({});
  };

  // ---- the line below the form
  const summary = () =>
    summaryLine({ ...defaults(), ...changed() }, state.config.method, task(), state.predicted || {});

  // ---- one setting
  const menuOf = (key, attributes, value, options) =>
    menu({ ...attributes, options, value, onchange: (raw) => keep(key, raw) });
  const titled = (model) => [model.id, model.title];
  const CONTROLS = {
    number: (key, attributes, value) => {
      const set = (raw) => keep(key, raw.trim() === "" ? "" : Number(raw));
      return entry({ ...attributes, type: "number", step: "any", inputmode: "decimal", value, onchange: set });
    },
    text: (key, attributes, value) =>
      entry({ ...attributes, maxlength: longest(key), value, onchange: (raw) => keep(key, raw.trim()) }),
    bool: (key, attributes, value) =>
      menu({
        ...attributes,
        options: [
          ["true", t("choice_yes")],
          ["false", t("choice_no")],
        ],
        value: String(Boolean(value)),
        onchange: (raw) => keep(key, raw === "true"),
      }),
    choices: (key, attributes, value) => {
      const { choices } = settings()[key];
      const chosen = (raw) => choices.find((option) => String(option) === raw);
      const name = (option) => (WORDED[key]?.[option] ? t(WORDED[key][option]) : NAMED[option] || option);
      return menu({
        ...attributes,
        options: choices.map((option) => [option, name(option)]),
        value: String(value),
        onchange: (raw) => keep(key, chosen(raw)),
      });
    },
    probe: (key, attributes, value) => menuOf(key, attributes, value, probes(value)),
    share: (key, attributes, value) =>
      shareControl(attributes, value || 0, settings()[key].high ?? 0.9, (share) => keep(key, share)),
    model: (...given) => menuOf(...given, [["", t("choice_own_tokenizer")], ...state.choices.models.map(titled)]),
    reward_model: (...given) => {
      const known = state.choices.models.filter((model) => model.task === "reward");
      return menuOf(...given, [["", t("choice_no_reward_model")], ...known.map(titled)]);
    },
    dataset: (key, attributes, value) => {
      const none = key === "replay_dataset_id" ? [["", t("choice_none")]] : [];
      const first = none.length ? none : [["", t("choice_sample")], ["none", t("choice_none")]]; // prettier-ignore
      const options = [...first, ...setTitles(others(key))];
      return menuOf(key, attributes, value, options);
    },
  };
  const field = (key) => {
    const id = `f-${key}`;
    const setting = settings()[key];
    const { unit } = setting;
    const value = changed()[key] ?? defaults()[key];
    const wrong = state.field === key;
    const attributes = { id, "aria-invalid": wrong ? "true" : undefined, class: wrong ? "entry wrong" : "entry" };
    const control = CONTROLS[controlOf(setting)](key, attributes, value);
    return h(
      "div",
      { class: "setting", "data-key": key },
      h("div", { class: "setting-name" }, h("label", { for: id }, t(`f_${key}`)), help(t(`h_${key}`), t(`f_${key}`))),
      h("div", { class: "with-unit" }, control, unit ? h("span", { class: "soft" }, t(`unit_${unit}`)) : null),
    );
  };

  const advanced = () => {
    const reset = () => Object.assign(state, { changed: {} }) && change({});
    const unseen = Object.entries(changed()).filter(([key]) => !(key in settings()));
    const list = unseen.map(([key, value]) => `${key} ${value}`).join(", ");
    return h(
      "details",
      { class: "advanced", open: state.open, ontoggle: (event) => (state.open = event.target.open) },
      h("summary", {}, t("train_advanced")),
      h(
        "div",
        { class: "advanced-in" },
        h(
          "div",
          { class: "fields" },
          isNew() ? null : goalField(goals(), task(), (goal) => change({}, goal)),
          Object.keys(settings()).filter(isThere).map(field),
        ),
        h(
          "div",
          { class: "predicted" },
          memoryForecast(state.predicted?.ledger),
          list ? h("p", { class: "soft print" }, t("train_also_set", { list })) : null,
          Object.keys(state.changed).length ? button(t("train_defaults"), reset, "quiet") : null,
        ),
      ),
    );
  };

  const addModel = async (model_id) => {
    state.busy = true;
    draw();
    const answer = await ask("add_model", { model_id });
    state.busy = false;
    if (answer.error) return fail(answer.error);
    state.other = false;
    state.config.model_id = answer.id;
    load();
  };
  // What the presets' memory and time follow from: all but the model and the method, of which they know each.
  const costsFollow = () => ({ ...wanted(), model_id: undefined, method: undefined });
  const presets = () =>
    h(Presets, {
      ask,
      method: state.config.method,
      config: costsFollow,
      follows: JSON.stringify(costsFollow()),
      busy: state.busy,
      take: addModel,
    });
  const otherModel = () => {
    const submit = (event) => {
      event.preventDefault();
      addModel(state.otherName);
    };
    return h(
      "form",
      { class: "other", onsubmit: submit },
      labelled(
        t("train_other_label"),
        entry({
          id: "train-other",
          maxlength: 500,
          value: state.otherName,
          onchange: (name) => (state.otherName = name),
        }),
      ),
      h("button", { class: "btn", type: "submit", disabled: state.busy }, t("train_other_add")),
    );
  };

  const architecture = newest((model_id) => ask("architecture", { model_id }));
  const inside = () => {
    const { model_size, vocabulary_size, max_length } = { ...defaults(), ...changed() };
    const id = isNew() ? `scratch:${model_size}:${vocabulary_size}:${max_length}` : state.config.model_id;
    const open = async (event) => {
      if (!event.target.open || state.inside?.model_id === id) return;
      const answer = await architecture(id);
      state.inside = answer.error ? { model_id: id, error: answer.error } : answer;
      draw();
    };
    return architectureFold(id, state.inside?.model_id === id ? state.inside : null, open);
  };

  const pick = (label, attributes) => labelled(label, menu(attributes));
  const draw = () => {
    const { choices, config } = state;
    const sets = setTitles(choices.data_sets);
    if (!sets.length) sets.push([SAMPLE, t("train_sample_choice")]);
    // A model that only classifies, or only reads, is no start for anything else.
    const models = choices.models
      .filter((model) => model.writes || task() === "classify" || model.id === config.model_id)
      .map(titled);
    if (dataTask() === "text") models.push([NEW, t("train_new_model")]);
    models.push([OTHER, t("train_other_model")]);
    const takeModel = (id) => {
      state.other = id === OTHER;
      // A new model has no weights that adapters could stand beside.
      const method = id === NEW && config.method === "lora" ? "adamw" : config.method;
      if (!state.other) return change({ model_id: id, method });
      draw();
      document.getElementById("train-other")?.focus();
    };
    const methods = choices.methods.filter((key) => key !== "lora" || !isNew()).map((key) => [key, t(`method_${key}`)]);
    show(
      el,
      h(
        "div",
        { class: "ask" },
        pick(t("train_data"), {
          id: "train-data",
          options: sets,
          value: config.dataset_id,
          onchange: (id) => change({ dataset_id: id }),
        }),
        pick(t("train_model"), {
          id: "train-model",
          options: models,
          value: state.other ? OTHER : config.model_id,
          onchange: takeModel,
        }),
        h(
          "div",
          { class: "pick method" },
          h("span", {}, t("train_method"), help(t("method_help"), t("train_method"))),
          choice(t("train_method"), methods, config.method, (method) => change({ method })),
        ),
        button(state.busy ? t("train_starting") : t("train_start"), begin, "strong go", {
          id: "train-start",
          disabled: trainForm.waits(),
        }),
      ),
      state.other ? [otherModel(), presets()] : null,
      h("div", {}, notice(state.error)),
      state.field ? null : summary(),
      (state.predicted?.notes || []).map((note) => notice({ message: note, kind: "info" })),
      h("div", { class: "folds" }, advanced(), inside(), h("div", { class: "more-place", ref: placeSlot })),
    );
    tell("train-form", { ...wanted(), task: dataTask(), goal: task() });
  };
  // Races and searches draw themselves into their own place here.
  const placeSlot = (node) => node && trainForm.slot.parentNode !== node && node.append(trainForm.slot);

  const begin = async () => {
    if (state.busy) return;
    state.busy = true;
    draw();
    const answer = await ask("start_run", { config: wanted() });
    state.busy = false;
    if (answer.error) return fail(answer.error);
    delete state.changed.name; // the next run has a name of its own
    fail(null);
    tell("run-started", answer.run_id);
    tell("datasets-changed"); // the sample may be one now
  };

  // The settings of a run, put into the form, which takes nothing meanwhile: it is neither as it was nor as it will be.
  const fill = async (values) => {
    Object.assign(state.config, settingsForForm(values, {}).base);
    Object.assign(state, { goal: values.task || "", awaited: "" });
    el.inert = true;
    await load();
    el.inert = false;
    if (!state.choices) return; // the app was not reached, which is said
    state.changed = settingsForForm(values, defaults(undefined, values)).changed;
    state.open = true;
    draw();
    predict();
    el.scrollIntoView({ block: "start", behavior: "smooth" });
    document.getElementById("train-start")?.focus({ preventScroll: true });
  };

  hear("train-on", (id) => load(id));
  hear("version-made", ({ of, id }) => of === state.config.dataset_id && load(id)); // of the data that is chosen
  hear("model-wanted", (id) => (Object.assign(state, { other: true, otherName: id }), state.choices && draw()));
  hear("train-settings", fill);
  for (const name of ["datasets-changed", "starter", "run-ended"]) hear(name, () => load());
  hear("loss-on", (value) => {
    if (state.choices) keep("loss_on", value);
    else state.changed.loss_on = value;
  });
  load();
});
