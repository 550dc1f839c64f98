/* The settings of the train form: which there are, for which method and task, and how a value is chosen. No page. */

/** [key, kind, unit's word]; a kind is the name of a control, or the list of what may be chosen. @type
   {[string, string | string[], string?][]} */
export const FIELDS = [
  ["name", "text"],
  ["max_steps", "number", "unit_steps"],
  ["batch_size", "number", "unit_records"],
  ["learning_rate", "number"],
  ["max_length", "number", "unit_tokens"],
  ["rank", "number"],
  ["update_proj_gap", "number", "unit_steps"],
  ["scale", "number"],
  ["optim_bits", ["32", "8"], "unit_bits"],
  ["loss_on", ["response", "all"]],
  ["packing", "bool"],
  ["replay_dataset_id", "data"],
  ["replay_share", "share"],
  ["forgetting_dataset_id", "data"],
  ["class_weights", ["none", "balanced"]],
  ["least_loss", "number"],
  ["preference_loss", ["dpo", "ipo", "robust"]],
  ["beta", "number"],
  ["label_smoothing", "number"],
  ["precision", "precisions"],
  ["gradient_accumulation_steps", "number"],
  ["num_processes", "number"],
  ["seed", "number"],
  ["log_with", ["none", "tensorboard", "trackio"]],
];
/* The methods and the tasks that a setting is for; all where there is no line. */
const METHODS = {
  update_proj_gap: ["galore"],
  scale: ["galore"],
  optim_bits: ["galore", "adamw"],
  rank: ["galore", "lora"],
};
const TASKS = {
  loss_on: ["chat"],
  packing: ["chat", "text"],
  replay_dataset_id: ["text"],
  replay_share: ["text"],
  forgetting_dataset_id: ["text"],
  class_weights: ["classify"],
  least_loss: ["classify"],
  preference_loss: ["preference"],
  beta: ["preference"],
  label_smoothing: ["preference"],
};

/** The words of choices that are words of the page, and the names of those that are names. */
export const WORDED = {
  loss_on: { response: "data_response", all: "data_everything" },
  class_weights: { none: "choice_none", balanced: "choice_balanced" },
  log_with: { none: "choice_none" },
};
export const NAMED = { dpo: "DPO", ipo: "IPO", robust: "robust DPO", tensorboard: "TensorBoard" };

/** Whether the setting `key` is one of this method and task, whose defaults are `defaults`. */
export const fits = (key, method, task, defaults) =>
  (!METHODS[key] || METHODS[key].includes(method)) && (!TASKS[key] || TASKS[key].includes(task)) && key in defaults;

const BASE = ["dataset_id", "model_id", "method"];

/**
 * What of a run's settings goes into the form: {base, changed}. `changed` are those that are not the defaults.
 * @param {Record<string, any>} values @param {Record<string, any>} defaults
 */
export const settingsForForm = (values, defaults) => {
  const known = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const base = Object.fromEntries(known.filter(([key]) => BASE.includes(key)));
  const others = known.filter(([key]) => !BASE.includes(key) && key !== "task" && key in defaults);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const changed = Object.fromEntries(others.filter(([key, value]) => !same(value, defaults[key])));
  return { base, changed };
};

/** Where a text speaks of the setting `key`: a name with a line in it is never a word, another one only at the beginning. */
const about = (key) => new RegExp(key.includes("_") ? `\\b${key}\\b` : `^${key}(?= is )`, "g");

/**
 * An error of the app with the form's names for the settings that it speaks of, and the one that it is about.
 * @param {{message: string, hint: string}} error @param {(key: string) => string} nameOf
 */
export const errorOfField = (error, nameOf) => {
  const keys = FIELDS.map(([key]) => key);
  const rename = (text) => keys.reduce((said, key) => said.replace(about(key), nameOf(key)), text || "");
  const field = keys.find((key) => about(key).test(error.message)) || null;
  return { field, error: { ...error, message: rename(error.message), hint: rename(error.hint) } };
};
