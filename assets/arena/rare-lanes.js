/* The rarer strategies and their values, folded away below "More settings", and how they are told in a lane's line.
   Starts nothing. */
import { h, number, t } from "./dom.js";

/* group: {strategy: the settings that are its own} */
const GROUPS = {
  rare_lanes: {
    typical_p: ["typical_p"],
    epsilon: ["epsilon_cutoff"],
    eta: ["eta_cutoff"],
    top_n_sigma: ["top_n_sigma"],
    xtc: ["xtc_threshold", "xtc_probability"],
    mirostat: ["mirostat_tau", "mirostat_eta"],
  },
  several_lanes: {
    best_of_n: ["num_return_sequences", "reward_model_id"],
    self_consistency: ["num_return_sequences", "vote_on", "vote_regex"],
    mbr: ["num_return_sequences"],
  },
  beam_lanes: {
    diverse_beam: ["num_beam_groups", "diversity_penalty"],
    stochastic_beam: [],
  },
  fast_lanes: {
    speculative: ["assistant_model_id", "num_assistant_tokens", "prompt_lookup_num_tokens"],
  },
  contrast_lanes: {
    contrastive: ["penalty_alpha"],
    dola: ["dola_layers"],
  },
};
const OWN = Object.assign({}, ...Object.values(GROUPS));
const KEYS = Array.from(new Set(Object.values(OWN).flat()));
export const RARE = Object.keys(OWN);
/** The strategies by the word of their group. */
export const groups = () =>
  Object.entries(GROUPS).map(([key, lanes]) => ({ label: t(key), strategies: Object.keys(lanes) }));
const SHORT = {
  typical_p: "typical",
  epsilon_cutoff: "ε",
  eta_cutoff: "η: ε",
  top_n_sigma: "nσ",
  xtc_threshold: "≥",
  xtc_probability: "xtc",
  mirostat_tau: "τ",
  mirostat_eta: "η",
  num_return_sequences: "n",
  prompt_lookup_num_tokens: "≤",
  num_assistant_tokens: "≤",
  penalty_alpha: "α",
};
const told = (key, value) =>
  key.endsWith("_model_id")
    ? String(value)
    : typeof value === "number"
      ? `${SHORT[key]} ${number(value, 4)}`
      : t(`choice_${key}_${value}`);

/** The parts of a lane's line of settings. @param {Record<string, any>} info */
export const rareParts = (info) =>
  Object.keys(info)
    .filter((key) => KEYS.includes(key) && key !== "vote_regex")
    .map((key) => told(key, info[key]));

/** What the strategy's sentence says with numbers. @param {Record<string, any>} info */
export const rareValues = (info) => ({
  typical: number(100 * (info.typical_p || 0), 1),
  epsilon: number(100 * (info.epsilon_cutoff || info.eta_cutoff || 0), 3),
  n: number(info.top_n_sigma, 2),
  threshold: number(100 * (info.xtc_threshold || 0), 1),
  chance: number(100 * (info.xtc_probability || 0), 0),
  tau: number(info.mirostat_tau, 1),
  answers: number(info.num_return_sequences),
  groups: number(info.num_beam_groups),
  drafts: number(info.num_assistant_tokens ?? info.prompt_lookup_num_tokens),
  candidates: number(info.top_k),
  alpha: number(100 * (info.penalty_alpha || 0), 0),
  off: number(info.diversity_penalty, 2),
});

const unique = (lanes) => Array.from(new Set(Object.values(lanes).flat()));
const field = (form, key) => {
  if (key.endsWith("_model_id")) return form.modelField(key);
  if (form.spec[key].choices.length) return form.choice(key);
  return form.spec[key].kind === "str" ? form.text(key) : form.number(key);
};

/** The folded fields, a fold a group; `lane(strategy)` gives the box that switches a lane on.
 * @param {any} form @param {Function} lane */
export const rareFields = (form, lane) =>
  Object.entries(GROUPS).map(([key, lanes]) =>
    h(
      "details",
      { class: "more", "data-group": key },
      h("summary", {}, t(key)),
      h(
        "div",
        { class: "lanepick", role: "group", "aria-label": t(key) },
        Object.keys(lanes).map((each) => lane(each)),
      ),
      h(
        "div",
        { class: "settings" },
        unique(lanes).map((each) => field(form, each)),
      ),
    ),
  );

/** The pattern is asked for where the answers vote for what it finds, and of two ways to draft the numbers of one.
 * @param {any} form */
export const fitFields = (form) => {
  const drafts = form.inputs.assistant_model_id.value !== "";
  form.inputs.num_assistant_tokens.parentElement.hidden = !drafts;
  form.inputs.prompt_lookup_num_tokens.parentElement.hidden = drafts;
  form.inputs.vote_regex.parentElement.hidden = form.inputs.vote_on.value !== "regex";
};

/** Opens the folds in which a lane is switched on; whether there was one. @param {any[]} folds @param {any} boxes */
export const showChosen = (folds, boxes) =>
  folds
    .map((fold) => {
      const on = Object.keys(GROUPS[fold.dataset.group]).some((strategy) => boxes[strategy].checked);
      if (on) fold.open = true;
      return on;
    })
    .some(Boolean);
