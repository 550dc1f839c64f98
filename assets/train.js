/* The train panel's form: what to train on what, settings with "?", the memory it will take, Start. */
(() => {
  "use strict";
  const L = window.llmdemo;
  if (!L || L.islands["train-form"]) return;
  const { h, t } = L;
  const FIELDS = [
    ["max_steps", "number", "unit_steps"], ["batch_size", "number", "unit_records"], ["learning_rate", "number"], ["max_length", "number", "unit_tokens"],
    ["rank", "number"], ["update_proj_gap", "number", "unit_steps"], ["scale", "number"], ["optim_bits", ["32", "8"], "unit_bits"],
    ["loss_on", ["response", "all"]], ["precision", null], ["gradient_accumulation_steps", "number"], ["num_processes", "number"], ["seed", "number"],
  ];
  const ONLY = { update_proj_gap: ["galore"], scale: ["galore"], optim_bits: ["galore"], rank: ["galore", "lora"] };
  const WORDED = { loss_on: { response: "data_response", all: "data_everything" } };

  L.define("train-form", ({ el, server }) => {
    const state = { choices: null, config: { dataset_id: null, model_id: "starter", method: "galore" }, changed: {}, open: false, ledger: null, error: null, busy: false, other: false };
    const ask = (name, data) => L.ask(server, name, data);
    const message = h("div", {}), summary = h("p", { class: "soft summary", role: "status" }), ledgerBox = h("div", {});
    const wanted = () => ({ ...state.config, ...state.changed });
    const fail = (error) => { state.error = error; L.show(message, L.notice(error)); };

    const load = async (datasetId) => {
      const choices = await ask("choices");
      if (choices.error) return fail(choices.error);
      state.choices = choices;
      const known = (id) => choices.data_sets.some((set) => set.dataset_id === id);
      if (datasetId) state.config.dataset_id = datasetId;
      if (!known(state.config.dataset_id)) state.config.dataset_id = choices.data_sets[0]?.dataset_id || "sample";
      if (!choices.models.some((model) => model.id === state.config.model_id)) state.config.model_id = "starter";
      if (!state.drawn || datasetId || !el.contains(document.activeElement)) draw();
      predict();
    };

    let asked = 0, timer;
    const predict = () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const mine = ++asked, answer = await ask("predict", wanted());
        if (mine !== asked) return;
        state.ledger = answer.error ? null : answer;
        L.show(message, answer.error && !answer.lost ? L.notice(answer.error) : null);
        drawSummary();
      }, 350);
    };

    const drawSummary = () => {
      const config = { ...defaults(), ...state.changed }, ledger = state.ledger?.ledger;
      const parts = [t("train_summary", { steps: L.int(config.max_steps), batch: L.int(config.batch_size * (config.gradient_accumulation_steps || 1)) })];
      if (state.ledger?.seconds) parts.push(t("data_n_about", { time: L.duration(state.ledger.seconds) }));
      if (ledger) parts.push(t("train_needs", { need: L.bytes(ledger.predicted.total), free: L.bytes(ledger.available) }));
      if (ledger && ledger.adamw_total && state.config.method !== "adamw") parts.push(t("train_adamw_would", { need: L.bytes(ledger.adamw_total) }));
      L.show(summary, parts.join(" · "));
      L.show(ledgerBox, ledger ? [ledger.fits === false ? L.notice({ message: t("train_too_much", { need: L.bytes(ledger.predicted.total), free: L.bytes(ledger.available) }) }) : null, L.ledger(ledger)] : null);
    };
    const defaults = () => state.choices?.defaults[state.config.method] || {};

    const draw = () => {
      state.drawn = true;
      const { choices, config } = state;
      const select = (label, options, value, onchange, id) => h("label", { class: "pick" }, h("span", {}, label),
        h("select", { id, onchange: (event) => onchange(event.target.value) }, options.map(([key, text, off]) => {
          const option = h("option", { value: key, disabled: off }, text);
          option.selected = key === value;
          return option;
        })));
      const sets = choices.data_sets.map((set) => [set.dataset_id, `${set.name} · ${L.int(set.kept)}`]);
      if (!sets.length) sets.push(["sample", t("train_sample_choice")]);
      const models = choices.models.map((model) => [model.id, model.title]);
      models.push(["+", t("train_other_model")]);
      const start = L.button(state.busy ? t("train_starting") : t("train_start"), begin, "strong go", { id: "train-start", disabled: state.busy });
      const advanced = h("details", { class: "advanced", open: state.open, ontoggle: (event) => { state.open = event.target.open; } },
        h("summary", {}, t("train_advanced")), h("div", { class: "advanced-in" }, h("div", { class: "fields" }, FIELDS.filter(([key]) => !ONLY[key] || ONLY[key].includes(config.method)).map(field)),
          h("div", { class: "predicted" }, ledgerBox, Object.keys(state.changed).length ? L.button(t("train_defaults"), () => { state.changed = {}; draw(); predict(); }, "quiet") : null)));
      L.show(el, h("div", { class: "ask" },
        select(t("train_data"), sets, config.dataset_id, (id) => { config.dataset_id = id; predict(); }, "train-data"),
        select(t("train_model"), models, state.other ? "+" : config.model_id, (id) => { if (id === "+") { state.other = true; draw(); el.querySelector("#train-other")?.focus(); } else { state.other = false; config.model_id = id; draw(); predict(); } }, "train-model"),
        h("div", { class: "pick method" }, h("span", {}, t("train_method")), L.choice(t("train_method"), choices.methods.map((key) => [key, t(`method_${key}`)]), config.method, (key) => { config.method = key; draw(); predict(); el.querySelector(`input[value=${key}]`)?.focus(); })),
        start), state.other ? otherModel() : null, message, summary, advanced);
      drawSummary();
    };

    const otherModel = () => h("form", { class: "other", onsubmit: async (event) => {
      event.preventDefault();
      const input = event.target.querySelector("input"), button = event.target.querySelector("button");
      button.disabled = true;
      const answer = await ask("add_model", { model_id: input.value });
      button.disabled = false;
      if (answer.error) return fail(answer.error);
      state.other = false; state.config.model_id = answer.id;
      L.show(message); load(); draw();
    } }, h("label", { class: "pick" }, h("span", {}, t("train_other_label")), h("input", { class: "entry", id: "train-other", maxlength: 500 })), h("button", { class: "btn", type: "submit" }, t("train_other_add")));

    const field = ([key, kind, unit]) => {
      const id = `f-${key}`, value = state.changed[key] ?? defaults()[key];
      const options = kind === null ? state.choices.precisions : kind;
      const set = (raw) => {
        const given = Array.isArray(options) && key !== "optim_bits" ? raw : Number(raw);
        if (String(raw).trim() === "") delete state.changed[key]; else if (given === defaults()[key]) delete state.changed[key]; else state.changed[key] = given;
        predict();
      };
      const control = Array.isArray(options)
        ? h("select", { id, onchange: (event) => set(event.target.value) }, options.map((option) => { const o = h("option", { value: option }, WORDED[key]?.[option] ? t(WORDED[key][option]) : option); o.selected = String(option) === String(value); return o; }))
        : h("input", { id, class: "entry", type: "number", step: "any", inputmode: "decimal", value: value ?? "", onchange: (event) => set(event.target.value) });
      const [help, text] = L.help(t(`h_${key}`), t(`f_${key}`));
      return h("div", { class: "setting" }, h("div", { class: "setting-name" }, h("label", { for: id }, t(`f_${key}`)), help), h("div", { class: "with-unit" }, control, unit ? h("span", { class: "soft" }, t(unit)) : null), text);
    };

    const begin = async () => {
      if (state.busy) return;
      state.busy = true; draw();
      const answer = await ask("start", wanted());
      state.busy = false;
      if (answer.error) { draw(); return fail(answer.error); }
      L.show(message); await load(); draw();
      L.tell("run-started", answer.run_id); L.tell("runs-changed"); L.tell("datasets-changed");
    };

    L.hear("train-on", (id) => load(id));
    L.hear("datasets-changed", () => load());
    L.hear("starter", () => load());
    L.hear("run-ended", () => load());
    L.hear("loss-on", (value) => { if (value === defaults().loss_on) delete state.changed.loss_on; else state.changed.loss_on = value; if (state.drawn) { draw(); predict(); } });
    load();
  });

  // ---- memory as bars, one scale for all
  const PARTS = ["runtime", "weights", "gradients", "subspace", "moments", "activations", "logits"];
  L.ledger = (ledger) => {
    const predicted = ledger.predicted || {}, measured = ledger.measured;
    const most = Math.max(predicted.total || 0, measured?.total || 0, 1);
    const bar = (name, bytes, kind) => h("div", {}, h("span", {}, name), h("span", { class: "track" }, h("i", { class: kind || "", style: `width:${Math.max(0.5, (100 * bytes) / most).toFixed(1)}%` })), h("em", {}, L.bytes(bytes)));
    return h("div", { class: "ledger" }, PARTS.filter((part) => predicted[part]).map((part) => bar(t(`mem_${part}`), predicted[part])),
      measured?.total ? bar(t("mem_measured"), measured.total, "m") : null,
      h("p", { class: "cap block" }, [t("mem_predicted", { n: L.bytes(predicted.total) }), ledger.adamw_total ? t("train_adamw_would", { need: L.bytes(ledger.adamw_total) }) : null].filter(Boolean).join(" · ")));
  };
})();
