/* The train panel's form: what to train on what, settings with "?", the memory it will take, Start. It follows the task
 of the chosen data, and is the base of races and searches: other scripts find it as trainForm. */
import * as L from "../lib/page.js";
import { h, t } from "../lib/page.js";

/* What races and searches take as their base: filled when the form is drawn. */
export const trainForm = {};

const SAMPLE = "sample";
const WORDED = {
  loss_on: { response: "data_response", all: "data_everything" },
  class_weights: { none: "choice_none", balanced: "choice_balanced" },
  log_with: { none: "choice_none" },
};
const NAMED = {
  warmup_stable_decay: "warm-up, stable, decay",
  dpo: "DPO",
  ipo: "IPO",
  robust: "robust DPO",
  tensorboard: "TensorBoard",
};
const BASE = ["dataset_id", "model_id", "method"];

L.define("train-form", ({ el, server }) => {
  const state = {
    choices: null,
    config: { dataset_id: null, model_id: "starter", method: "galore" },
    changed: {},
    open: false,
    ledger: null,
    error: null,
    busy: false,
    other: false,
  };
  const ask = (name, data) => L.ask(server, name, data);
  const message = h("div", {}),
    summary = h("p", { class: "soft summary", role: "status" }),
    ledgerBox = h("div", {}),
    slot = h("div", { class: "more" });
  const task = () => state.choices?.data_sets.find((set) => set.dataset_id === state.config.dataset_id)?.task || "chat";
  const defaults = (method = state.config.method) => state.choices?.defaults[task()]?.[method] || {};
  // What each setting is, and which methods and tasks use it, comes from llmdemo/settings/training.py.
  const settings = () => state.choices?.settings || {};
  const fits = (key) => {
    const { methods, tasks } = settings()[key];
    return (!methods.length || methods.includes(state.config.method)) && (!tasks.length || tasks.includes(task()));
  };
  // What was changed counts only where the setting exists: another method or task keeps it in mind.
  const changed = () =>
    Object.fromEntries(
      Object.entries(state.changed).filter(([key, value]) => {
        const setting = settings()[key];
        return (
          !setting ||
          (fits(key) &&
            (setting.widget !== "dataset" || value === "none" || others(key).some((set) => set.dataset_id === value)))
        );
      }),
    );
  // Instruction data to be measured on; for replay raw text as well, but not the data that is trained.
  const others = (key) =>
    state.choices.data_sets.filter(
      (set) =>
        set.dataset_id !== state.config.dataset_id &&
        (set.task === "chat" || (set.task === "text" && key === "replay_dataset_id")),
    );
  const wanted = () => ({ ...state.config, ...changed() });
  const fail = (error) => {
    state.error = error;
    L.show(message, L.notice(error));
  };

  Object.assign(trainForm, {
    slot,
    wanted,
    task,
    defaults,
    method: () => state.config.method,
    seconds: () => state.ledger?.seconds || null,
    fail: (error) => L.show(message, error ? L.notice(error) : null),
  });

  const load = async (datasetId) => {
    const choices = await ask("choices");
    if (choices.error) return fail(choices.error);
    state.choices = choices;
    const known = (id) => choices.data_sets.some((set) => set.dataset_id === id);
    if (datasetId) state.config.dataset_id = datasetId;
    if (!known(state.config.dataset_id)) state.config.dataset_id = choices.data_sets[0]?.dataset_id || SAMPLE;
    if (!choices.models.some((model) => model.id === state.config.model_id)) state.config.model_id = "starter";
    if (!state.drawn || datasetId || !el.contains(document.activeElement)) draw();
    predict();
  };

  let asked = 0,
    timer;
  const predict = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++asked,
        answer = await ask("predict", wanted());
      if (mine !== asked) return;
      state.ledger = answer.error ? null : answer;
      L.show(message, answer.error && !answer.lost ? L.notice(answer.error) : null);
      drawSummary();
    }, 350);
  };

  const drawSummary = () => {
    const config = { ...defaults(), ...changed() },
      ledger = state.ledger?.ledger;
    const parts = [
      t(`task_${task()}`),
      t("train_summary", {
        steps: L.int(config.max_steps),
        batch: L.int(config.batch_size * (config.gradient_accumulation_steps || 1)),
      }),
    ];
    if (state.ledger?.seconds) parts.push(L.timeRange(state.ledger));
    const need = L.bytes(ledger?.needed || ledger?.predicted.total || 0);
    if (ledger) parts.push(t("train_needs", { need, free: L.bytes(ledger.available) }));
    if (ledger && ledger.adamw_total && state.config.method !== "adamw")
      parts.push(t("train_adamw_would", { need: L.bytes(ledger.adamw_total) }));
    L.show(summary, parts.join(" · "));
    L.show(
      ledgerBox,
      ledger
        ? [
            ledger.fits === false
              ? L.notice({ message: t("train_too_much", { need, free: L.bytes(ledger.available) }) })
              : null,
            ...(state.ledger.notes || []).map((note) => L.notice({ message: note, kind: "info" })),
            memoryBars(ledger),
          ]
        : null,
    );
    L.tell("train-form", { ...wanted(), task: task() });
  };

  const draw = () => {
    state.drawn = true;
    const { choices, config } = state;
    const select = (label, options, value, onchange, id) =>
      h(
        "label",
        { class: "pick" },
        h("span", {}, label),
        h(
          "select",
          { id, onchange: (event) => onchange(event.target.value) },
          options.map(([key, text, off]) => {
            const option = h("option", { value: key, disabled: off }, text);
            option.selected = key === value;
            return option;
          }),
        ),
      );
    const sets = choices.data_sets.map((set) => [set.dataset_id, `${set.name} · ${L.int(set.kept)}`]);
    if (!sets.length) sets.push([SAMPLE, t("train_sample_choice")]);
    // A model that only classifies, or only reads, is no start for anything else.
    const models = choices.models
      .filter((model) => model.writes || task() === "classify" || model.id === config.model_id)
      .map((model) => [model.id, model.title]);
    models.push(["+", t("train_other_model")]);
    const start = L.button(state.busy ? t("train_starting") : t("train_start"), begin, "strong go", {
      id: "train-start",
      disabled: state.busy,
    });
    const advanced = h(
      "details",
      {
        class: "advanced",
        open: state.open,
        ontoggle: (event) => {
          state.open = event.target.open;
        },
      },
      h("summary", {}, t("train_advanced")),
      h(
        "div",
        { class: "advanced-in" },
        h("div", { class: "fields" }, Object.keys(settings()).filter(fits).map(field)),
        h(
          "div",
          { class: "predicted" },
          ledgerBox,
          Object.keys(state.changed).length
            ? L.button(
                t("train_defaults"),
                () => {
                  state.changed = {};
                  draw();
                  predict();
                },
                "quiet",
              )
            : null,
        ),
      ),
    );
    L.show(
      el,
      h(
        "div",
        { class: "ask" },
        select(
          t("train_data"),
          sets,
          config.dataset_id,
          (id) => {
            config.dataset_id = id;
            draw();
            predict();
            el.querySelector("#train-data")?.focus();
          },
          "train-data",
        ),
        select(
          t("train_model"),
          models,
          state.other ? "+" : config.model_id,
          (id) => {
            if (id === "+") {
              state.other = true;
              draw();
              el.querySelector("#train-other")?.focus();
            } else {
              state.other = false;
              config.model_id = id;
              draw();
              predict();
            }
          },
          "train-model",
        ),
        h(
          "div",
          { class: "pick method" },
          h("span", {}, t("train_method")),
          L.choice(
            t("train_method"),
            choices.methods.map((key) => [key, t(`method_${key}`)]),
            config.method,
            (key) => {
              config.method = key;
              draw();
              predict();
              el.querySelector(`input[value=${key}]`)?.focus();
            },
          ),
        ),
        start,
      ),
      state.other ? otherModel() : null,
      message,
      summary,
      h("div", { class: "folds" }, advanced, slot),
    );
    drawSummary();
  };

  const otherModel = () =>
    h(
      "form",
      {
        class: "other",
        onsubmit: async (event) => {
          event.preventDefault();
          const input = event.target.querySelector("input"),
            button = event.target.querySelector("button");
          button.disabled = true;
          const answer = await ask("add_model", { model_id: input.value });
          button.disabled = false;
          if (answer.error) return fail(answer.error);
          state.other = false;
          state.config.model_id = answer.id;
          L.show(message);
          load();
          draw();
        },
      },
      h(
        "label",
        { class: "pick" },
        h("span", {}, t("train_other_label")),
        h("input", { class: "entry", id: "train-other", maxlength: 500 }),
      ),
      h("button", { class: "btn", type: "submit" }, t("train_other_add")),
    );

  const keep = (key, given) => {
    if (given === defaults()[key] || given === "" || Number.isNaN(given)) delete state.changed[key];
    else state.changed[key] = given;
    predict();
  };
  const menu = (id, options, value, set) =>
    h(
      "select",
      { id, onchange: (event) => set(event.target.value) },
      options.map(([key, text]) => {
        const o = h("option", { value: key }, text);
        o.selected = String(key) === String(value);
        return o;
      }),
    );
  const CONTROLS = {
    number: (key, id, value) =>
      h("input", {
        id,
        class: "entry",
        type: "number",
        step: "any",
        inputmode: "decimal",
        value: value ?? "",
        onchange: (event) => {
          keep(key, event.target.value.trim() === "" ? "" : Number(event.target.value));
          event.target.value = state.changed[key] ?? defaults()[key] ?? "";
        },
      }),
    bool: (key, id, value) =>
      menu(
        id,
        [
          ["true", t("choice_yes")],
          ["false", t("choice_no")],
        ],
        String(Boolean(value)),
        (raw) => keep(key, raw === "true"),
      ),
    choices: (key, id, value) => {
      const { choices } = settings()[key];
      const name = (option) => (WORDED[key]?.[option] ? t(WORDED[key][option]) : NAMED[option] || option);
      return menu(
        id,
        choices.map((option) => [option, name(option)]),
        value,
        (raw) =>
          keep(
            key,
            choices.find((option) => String(option) === raw),
          ),
      );
    },
    share: (key, id, value) => {
      const said = h("span", { class: "n" }, L.percent(value || 0));
      return h(
        "span",
        { class: "with-unit" },
        h("input", {
          id,
          type: "range",
          min: 0,
          max: settings()[key].high,
          step: 0.05,
          value: value || 0,
          oninput: (event) => {
            said.textContent = L.percent(+event.target.value);
          },
          onchange: (event) => keep(key, Number(event.target.value)),
        }),
        said,
      );
    },
    dataset: (key, id, value) => {
      const first =
        key === "replay_dataset_id"
          ? [["", t("choice_none")]]
          : [
              ["", t("choice_sample")],
              ["none", t("choice_none")],
            ];
      return menu(
        id,
        [...first, ...others(key).map((set) => [set.dataset_id, L.clip(set.name, 40)])],
        value || "",
        (raw) => keep(key, raw),
      );
    },
  };
  const field = (key) => {
    const { kind, unit, widget, choices } = settings()[key];
    const id = `f-${key}`,
      value = changed()[key] ?? defaults()[key];
    const control = CONTROLS[widget || (choices.length ? "choices" : kind === "bool" ? "bool" : "number")](
      key,
      id,
      value,
    );
    const [help, text] = L.help(t(`h_${key}`), t(`f_${key}`));
    return h(
      "div",
      { class: "setting" },
      h("div", { class: "setting-name" }, h("label", { for: id }, t(`f_${key}`)), help),
      h("div", { class: "with-unit" }, control, unit ? h("span", { class: "soft" }, t(`unit_${unit}`)) : null),
      text,
    );
  };

  const begin = async () => {
    if (state.busy) return;
    state.busy = true;
    draw();
    const answer = await ask("start", wanted());
    state.busy = false;
    if (answer.error) {
      draw();
      return fail(answer.error);
    }
    L.show(message);
    await load();
    draw();
    L.tell("run-started", answer.run_id);
    L.tell("runs-changed");
    L.tell("datasets-changed");
  };

  // A run's settings, put into the form: by the best run of a search, for example.
  const fill = async (values) => {
    const known = Object.fromEntries(
      Object.entries(values).filter(([key, value]) => value !== null && !["task", "name"].includes(key)),
    );
    for (const key of BASE) if (known[key]) state.config[key] = known[key];
    await load();
    state.changed = Object.fromEntries(
      Object.entries(known).filter(([key, value]) => !BASE.includes(key) && value !== defaults()[key]),
    );
    state.open = true;
    draw();
    predict();
    el.scrollIntoView({ block: "start", behavior: "smooth" });
    el.querySelector("#train-start")?.focus({ preventScroll: true });
  };

  L.hear("train-on", (id) => load(id));
  L.hear("train-settings", fill);
  L.hear("datasets-changed", () => load());
  L.hear("starter", () => load());
  L.hear("run-ended", () => load());
  L.hear("loss-on", (value) => {
    if (value === defaults().loss_on) delete state.changed.loss_on;
    else state.changed.loss_on = value;
    if (state.drawn) {
      draw();
      predict();
    }
  });
  load();
});

// ---- memory as bars, one scale for all
const PARTS = ["runtime", "weights", "gradients", "subspace", "moments", "activations", "logits", "other"];
export const memoryBars = (memory) => {
  const predicted = memory.predicted || {},
    measured = memory.measured;
  const most = Math.max(predicted.total || 0, measured?.total || 0, 1);
  const bar = (name, bytes, kind) =>
    h(
      "div",
      {},
      h("span", {}, name),
      h(
        "span",
        { class: "track" },
        h("i", { class: kind || "", style: `width:${Math.max(0.5, (100 * bytes) / most).toFixed(1)}%` }),
      ),
      h("em", {}, L.bytes(bytes)),
    );
  return h(
    "div",
    { class: "ledger" },
    PARTS.filter((part) => predicted[part]).map((part) => bar(t(`mem_${part}`), predicted[part])),
    measured?.total ? bar(t("mem_measured"), measured.total, "m") : null,
    h(
      "p",
      { class: "cap block" },
      [
        t("mem_predicted", { n: L.bytes(predicted.total) }),
        predicted.apart ? t("mem_apart", { n: L.bytes(predicted.apart) }) : null,
        memory.adamw_total ? t("train_adamw_would", { need: L.bytes(memory.adamw_total) }) : null,
        memory.rough ? t("mem_rough") : null,
      ]
        .filter(Boolean)
        .join(" · "),
    ),
  );
};
