/* Further panes beside the strategies' own: a second top-p with another p, a beam search with other beams, …
   Each is a row of fields that becomes a lane with a name of its own. Starts nothing. */
import { constraintOf, isOn } from "./constraints.js";
import { h, t } from "./dom.js";
import { groups } from "./rare-lanes.js";

const MOST = 16;
/* A temperature says nothing to them. */
const COLD = ["greedy", "beam", "diverse_beam", "speculative", "contrastive", "dola"];

/* strategy: [the setting that makes it, its short name, least, most, first value] */
const OWN = {
  top_p: ["top_p", "p", 0.01, 1, 0.5],
  top_k: ["top_k", "k", 1, 100000, 5],
  min_p: ["min_p", "min-p", 0.001, 1, 0.2],
  greedy: [null, "", 0, 0, 0],
  sample: [null, "", 0, 0, 0],
  beam: ["num_beams", "b", 1, 16, 2],
  typical_p: ["typical_p", "typical", 0.01, 1, 0.5],
  epsilon: ["epsilon_cutoff", "ε", 0.00001, 0.9, 0.01],
  eta: ["eta_cutoff", "ε", 0.00001, 0.9, 0.01],
  top_n_sigma: ["top_n_sigma", "n", 0.1, 100, 1.5],
  xtc: ["xtc_probability", "xtc", 0, 1, 1],
  mirostat: ["mirostat_tau", "τ", 0.1, 20, 3],
  best_of_n: ["num_return_sequences", "n", 1, 32, 4],
  self_consistency: ["num_return_sequences", "n", 1, 32, 4],
  mbr: ["num_return_sequences", "n", 1, 32, 4],
  diverse_beam: ["num_beam_groups", "g", 1, 16, 4],
  stochastic_beam: ["num_beams", "b", 1, 16, 3],
  speculative: ["prompt_lookup_num_tokens", "≤", 1, 64, 4],
  contrastive: ["penalty_alpha", "α", 0, 1, 0.3],
  dola: [null, "", 0, 0, 0],
};

/* The usual strategies, and the others under the names of their groups. */
const options = () => {
  const option = (each) => h("option", { value: each }, t("name_" + each));
  const grouped = groups();
  const usual = Object.keys(OWN).filter((each) => !grouped.some(({ strategies }) => strategies.includes(each)));
  return [
    ...usual.map(option),
    ...grouped.map(({ label, strategies }) =>
      h("optgroup", { label }, strategies.filter((each) => OWN[each]).map(option)),
    ),
  ];
};

export class MoreLanes {
  constructor(changed) {
    this.changed = changed;
    this.rows = [];
    this.list = h("div", { class: "morelanes" });
    this.add = h(
      "button",
      {
        type: "button",
        class: "quiet",
        onclick: () => {
          this.append({ strategy: "top_p" }, true);
          this.changed();
        },
      },
      t("add_lane"),
    );
    this.element = h("div", { class: "lanemore" }, this.list, this.add);
  }

  append(lane, focus) {
    if (this.rows.length >= MOST) return;
    const number = (label, attributes) =>
      h("input", {
        type: "number",
        step: "any",
        inputmode: "decimal",
        "aria-label": label,
        onchange: () => this.changed(),
        ...attributes,
      });
    const row = { lane: { ...lane } };
    row.strategy = h(
      "select",
      {
        "aria-label": t("lane_strategy"),
        onchange: () => {
          this.fit(row, true);
          this.changed();
        },
      },
      options(),
    );
    row.strategy.value = lane.strategy;
    row.value = number("", {});
    row.label = h("span", {});
    row.temperature = number(t("set_label_temperature"), { min: "0", max: "5", placeholder: t("lane_same") });
    row.heat = h("label", {}, "T ", row.temperature);
    row.free = h("input", { type: "checkbox", checked: Boolean(lane.free), onchange: () => this.changed() });
    const remove = h(
      "button",
      {
        type: "button",
        class: "small",
        "aria-label": t("lane_remove"),
        title: t("lane_remove"),
        onclick: () => this.remove(row),
      },
      "✕",
    );
    row.element = h(
      "div",
      { class: "morelane" },
      row.strategy,
      h("label", {}, row.label, " ", row.value),
      row.heat,
      h("label", { class: "check free" }, row.free, t("lane_free")),
      remove,
    );
    this.fit(row, true);
    const [key] = OWN[lane.strategy];
    if (key && lane[key] !== undefined) row.value.value = String(lane[key]);
    if (lane.temperature !== undefined) row.temperature.value = String(lane.temperature);
    this.rows.push(row);
    this.list.append(row.element);
    if (focus) row.value.focus();
  }

  /* Shows the fields that the row's strategy has. */
  fit(row, fresh) {
    const [key, short, least, most, first] = OWN[row.strategy.value];
    row.label.textContent = short;
    row.value.parentElement.hidden = !key;
    row.heat.hidden = COLD.includes(row.strategy.value);
    if (!key) return;
    Object.assign(row.value, { min: String(least), max: String(most) });
    row.value.setAttribute("aria-label", t("set_label_" + key));
    if (fresh) row.value.value = String(first);
  }

  remove(row) {
    row.element.remove();
    this.rows = this.rows.filter((other) => other !== row);
    this.add.focus();
    this.changed();
  }

  /* [{strategy, name, its value, temperature if it has its own}]; an empty field is left to the common settings.
     `freed`: what a lane says that is free of the form that all are held to; null where there is none. */
  values(freed = null) {
    const taken = new Set();
    return this.rows.map((row) => {
      const [key, short] = OWN[row.strategy.value];
      const own = key && row.value.value.trim() !== "" ? Number(row.value.value) : null;
      const heat =
        !COLD.includes(row.strategy.value) && row.temperature.value.trim() !== ""
          ? Number(row.temperature.value)
          : null;
      const base = [
        t("name_" + row.strategy.value),
        own === null ? "" : `${short} ${own}`,
        heat === null ? "" : `T ${heat}`,
        freed && row.free.checked ? t("lane_free") : "",
      ]
        .filter(Boolean)
        .join(" · ");
      let name = base;
      for (let again = 2; taken.has(name); again += 1) name = `${base} (${again})`;
      taken.add(name);
      return {
        strategy: row.strategy.value,
        name: name.slice(0, 40),
        ...(own === null ? {} : { [key]: own }),
        ...(heat === null ? {} : { temperature: heat }),
        ...(freed && row.free.checked ? freed : {}),
      };
    });
  }

  /* Lanes of a link, of what was used last or of a trace; `common` are the settings that all lanes share. */
  set(lanes, common) {
    this.rows = [];
    this.list.replaceChildren();
    for (const lane of lanes) {
      if (!OWN[lane.strategy]) continue;
      const temperature =
        Number.isFinite(lane.temperature) && lane.temperature !== common.temperature ? lane.temperature : undefined;
      const held = constraintOf(common);
      this.append({ ...lane, temperature, free: held !== "" && lane[held] !== undefined && !isOn(lane[held]) });
    }
  }
}
