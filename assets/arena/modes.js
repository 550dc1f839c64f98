/* What one press of Compare asks for: one prompt, a sweep of settings, or many prompts. Holds the fields of the
   two latter and turns them into lanes or prompts; starts nothing. */
import { choice } from "../lib/dom.js";
import { bytes, h, t } from "./dom.js";
import { help } from "./help.js";

const MODES = ["one", "sweep", "many"];
const MOST_FILE_BYTES = 5e6;
const LINE_END = "↵"; // the field has one prompt a line: a line end inside a prompt is shown as this sign

/* axes: which two settings span the grid, and what they begin with. */
const SWEEPS = {
  temperature_top_p: {
    strategy: "top_p",
    keys: ["temperature", "top_p"],
    values: ["0.5, 0.8, 1.1, 1.4", "0.5, 0.8, 0.95"],
  },
  temperature_top_k: {
    strategy: "top_k",
    keys: ["temperature", "top_k"],
    values: ["0.5, 0.8, 1.1, 1.4", "5, 50, 500"],
  },
  temperature_min_p: {
    strategy: "min_p",
    keys: ["temperature", "min_p"],
    values: ["0.8, 1.2, 1.6, 2", "0.02, 0.05, 0.2"],
  },
  beams_penalty: { strategy: "beam", keys: ["num_beams", "length_penalty"], values: ["1, 2, 4", "0, 1, 2"] },
};
const SHORT = { temperature: "T", top_p: "p", top_k: "k", min_p: "min-p", num_beams: "b", length_penalty: "lp" };

export class Modes {
  /* changed(mode) is told when the person takes another mode. */
  constructor(changed) {
    this.mode = "one";
    const bar = choice(
      t("mode"),
      MODES.map((mode) => [mode, t("mode_" + mode)]),
      "one",
      (mode) => {
        this.show(mode);
        changed(mode);
      },
    );
    this.axes = h(
      "select",
      { id: "arena-axes", onchange: () => this.fillAxes() },
      Object.keys(SWEEPS).map((key) => h("option", { value: key }, t("sweep_" + key))),
    );
    this.rows = h("input", { type: "text", id: "arena-rows", inputmode: "decimal" });
    this.columns = h("input", { type: "text", id: "arena-columns", inputmode: "decimal" });
    this.rowLabel = h("label", { for: "arena-rows" });
    this.columnLabel = h("label", { for: "arena-columns" });
    this.sweep = h(
      "div",
      { class: "settings modefields" },
      h("div", { class: "aset" }, h("label", { for: "arena-axes" }, t("sweep")), this.axes),
      h("div", { class: "aset" }, this.rowLabel, this.rows),
      h("div", { class: "aset" }, this.columnLabel, this.columns),
      help("sweep"),
    );
    this.samples = h("input", { type: "number", id: "arena-samples", min: "1", max: "8", value: "1" });
    this.file = h("input", { type: "file", accept: ".txt,.json,.jsonl", hidden: true });
    this.many = h(
      "div",
      { class: "settings modefields" },
      h("div", { class: "aset" }, h("label", { for: "arena-samples" }, t("samples")), this.samples, help("samples")),
      h("button", { type: "button", class: "quiet", onclick: () => this.file.click() }, t("prompts_file")),
      this.file,
    );
    this.element = h("div", { class: "modes" }, bar, this.sweep, this.many);
    this.fillAxes();
    this.show("one");
  }

  show(mode) {
    this.mode = mode;
    this.sweep.hidden = mode !== "sweep";
    this.many.hidden = mode !== "many";
  }

  toJSON() {
    return {
      mode: this.mode,
      axes: this.axes.value,
      rows: this.rows.value,
      columns: this.columns.value,
      samples: this.samples.value,
    };
  }

  /* What toJSON gave, or anything else out of a link. */
  set(value) {
    if (!value || typeof value !== "object") return;
    if (SWEEPS[value.axes]) {
      this.axes.value = value.axes;
      this.fillAxes();
    }
    for (const key of ["rows", "columns", "samples"])
      if (typeof value[key] === "string") this[key].value = value[key].slice(0, 200);
    const mode = this.element.querySelector(
      `.segments input[value="${MODES.includes(value.mode) ? value.mode : "one"}"]`,
    );
    if (!mode.checked) mode.click();
  }

  fillAxes() {
    const { keys, values } = SWEEPS[this.axes.value];
    this.rows.value = values[0];
    this.columns.value = values[1];
    this.rowLabel.textContent = t("set_label_" + keys[0]);
    this.columnLabel.textContent = t("set_label_" + keys[1]);
  }

  /* The grid as lanes, row by row: {lanes, columns, strategy}. Throws Error with a sentence when a field
     holds no numbers. */
  grid() {
    const { strategy, keys } = SWEEPS[this.axes.value];
    const [down, across] = [this.rows, this.columns].map((input) => {
      const values = input.value
        .split(/[,;\s]+/)
        .filter(Boolean)
        .map(Number);
      if (!values.length || values.some((value) => !Number.isFinite(value)))
        throw new Error(t("not_numbers", { text: input.value }));
      return Array.from(new Set(values));
    });
    const lanes = down.flatMap((a) =>
      across.map((b) => ({
        strategy,
        name: `${SHORT[keys[0]]} ${a} · ${SHORT[keys[1]]} ${b}`,
        [keys[0]]: a,
        [keys[1]]: b,
        draws: "sweep", // the same luck for all
      })),
    );
    return { lanes, columns: across.length, strategy };
  }

  /* The prompts of a file: one a line, or JSON / JSON lines of texts or of objects with prompt, turns,
     instruction, question or text. */
  async read() {
    const file = this.file.files[0];
    this.file.value = "";
    if (!file) return [];
    if (file.size > MOST_FILE_BYTES) throw new Error(t("file_too_large", { name: file.name, size: bytes(file.size) }));
    const prompts = promptsOf(await file.text())
      .map((prompt) => prompt.trim().replace(/\r?\n/g, LINE_END))
      .filter(Boolean);
    if (!prompts.length) throw new Error(t("no_prompts_in", { name: file.name }));
    return prompts;
  }
}

function promptsOf(text) {
  const one = (item) => {
    if (typeof item === "string") return item;
    const value = item && ["prompt", "turns", "instruction", "question", "text"].map((key) => item[key]).find(Boolean);
    return Array.isArray(value) ? one(value[0]) : typeof value === "string" ? value : "";
  };
  const parse = (line) => {
    try {
      return JSON.parse(line);
    } catch {
      return line;
    }
  };
  const whole = parse(text);
  if (Array.isArray(whole)) return whole.map(one);
  return text.split("\n").map((line) => one(parse(line.trim())));
}

export const promptLines = (text) => text.split("\n").map((line) => line.replaceAll(LINE_END, "\n"));
export const oneLine = (prompt) => prompt.replace(/\r?\n/g, LINE_END);
