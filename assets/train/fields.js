/* The settings of the train form. What each is, and which methods and tasks use it, comes with the page from
   llmdemo/settings/training.py. No page. */
import { t } from "../lib/words.js";

/**
 * @typedef {{kind: string, unit: string, widget: string, choices: any[], high: number | null, methods: string[],
 *   tasks: string[]}} Setting
 */

/** A run's name is no setting of the training, and stands before them. @type {Record<string, Setting>} */
export const NAME = {
  name: { kind: "str", unit: "", widget: "text", choices: [], high: null, methods: [], tasks: [] },
};

/** The words of choices that are words of the page, and the names of those that are names. */
export const WORDED = {
  loss_on: { response: "data_response", all: "data_everything" },
  class_weights: { none: "choice_none", balanced: "choice_balanced" },
  log_with: { none: "choice_none" },
  reward: {
    normalised: "eval_checker_normalised",
    exact: "eval_checker_exact",
    fields: "choice_fields",
    number: "eval_checker_number",
    contains: "eval_checker_contains",
    regex: "eval_checker_regex",
    json: "eval_checker_json",
    json_schema: "eval_checker_json_schema",
    expression: "eval_checker_expression",
    length: "choice_length",
    model: "choice_reward_model",
  },
  policy_loss: { rejection: "choice_rejection" },
  best_by: { loss: "choice_best_loss", figure: "choice_best_figure", last: "choice_best_last" },
};
WORDED.second_reward = { none: "choice_none", ...WORDED.reward };
WORDED.held_out_check = WORDED.reward;
export const NAMED = {
  warmup_stable_decay: "warm-up, stable, decay",
  dpo: "DPO",
  ipo: "IPO",
  robust: "robust DPO",
  orpo: "ORPO",
  simpo: "SimPO",
  grpo: "GRPO",
  dapo: "DAPO",
  dr_grpo: "Dr. GRPO",
  tensorboard: "TensorBoard",
};

/**
 * Whether a setting counts for this method and task.
 * @param {Setting} setting @param {string} method @param {string} task
 */
export const fits = ({ methods, tasks }, method, task) =>
  (!methods.length || methods.includes(method)) && (!tasks.length || tasks.includes(task));

const NEEDED = {
  reward_text: ["contains", "regex", "json_schema"],
  reward_tokens: ["length"],
  reward_model_id: ["model"],
};
/**
 * Whether a setting has anything to do beside the others' values: what a reward looks for only where it looks for
 * something.
 * @param {string} key @param {Record<string, any>} values
 */
export const needed = (key, { reward, second_reward: second, policy_loss: loss, asked, probe_id: probe }) => {
  if (key === "probe_id") return Boolean(asked || probe); // where nothing was probed there is nothing to choose
  if (NEEDED[key]) return NEEDED[key].includes(reward) || NEEDED[key].includes(second);
  if (key === "second_share") return second !== "none";
  return key !== "kl_weight" || loss !== "rejection";
};

/** What a setting is chosen with. @param {Setting} setting */
export const controlOf = ({ widget, choices, kind }) =>
  widget || (choices.length ? "choices" : { bool: "bool", str: "text" }[kind] || "number");

/** The setting that a task's loss is chosen by. @type {Record<string, string>} */
const LOSS = { preference: "preference_loss", grpo: "policy_loss" };

/**
 * What settings are unless somebody changes them; a loss or a new model's size among what was `changed` brings its own.
 * @param {Record<string, any> | null} choices @param {string} task @param {string} method
 * @param {Record<string, any>} changed @returns {Record<string, any>}
 */
export const defaultsFor = (choices, task, method, changed) => {
  const rate = task === "pretrain" && method === "adamw" && choices?.pretrain_rates?.[changed.model_size];
  return {
    ...choices?.defaults[task]?.[method],
    ...choices?.defaults_by_loss?.[LOSS[task]]?.[changed[LOSS[task]]],
    ...(rate ? { learning_rate: rate } : {}),
  };
};

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

/** Where a text speaks of the setting `key`: a name with a line in it is never a word, another only at the start. */
const about = (key) => new RegExp(key.includes("_") ? `\\b${key}\\b` : `^${key}(?= is |是)`, "g");

/**
 * An error of the app with the form's names for the settings that it speaks of, and the one that it is about.
 * @param {{message: string, hint: string}} error @param {string[]} keys @param {(key: string) => string} nameOf
 */
export const errorOfField = (error, keys, nameOf) => {
  const rename = (text) => keys.reduce((said, key) => said.replace(about(key), nameOf(key)), text || "");
  // lib/words.js has already put a label, quoted, in the place of a name with a line in it
  const names = (key) => about(key).test(error.message) || error.message.includes(t("quoted", { text: nameOf(key) }));
  const field = keys.find(names) || null;
  return { field, error: { ...error, message: rename(error.message), hint: rename(error.hint) } };
};
