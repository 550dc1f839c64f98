/* The rarer strategies and their values, folded away below "More settings", and how they are told in a lane's line.
   Starts nothing. */
import { h, number, t } from "./dom.js";

/* strategy: the settings that are its own */
const OWN = {
  typical_p: ["typical_p"],
  epsilon: ["epsilon_cutoff"],
  eta: ["eta_cutoff"],
  top_n_sigma: ["top_n_sigma"],
  xtc: ["xtc_threshold", "xtc_probability"],
  mirostat: ["mirostat_tau", "mirostat_eta"],
};
export const RARE = Object.keys(OWN);
const SHORT = {
  typical_p: "typical",
  epsilon_cutoff: "ε",
  eta_cutoff: "η: ε",
  top_n_sigma: "nσ",
  xtc_threshold: "≥",
  xtc_probability: "xtc",
  mirostat_tau: "τ",
  mirostat_eta: "η",
};

/** The parts of a lane's line of settings. @param {Record<string, any>} info */
export const rareParts = (info) =>
  Object.values(OWN)
    .flat()
    .filter((key) => info[key] !== undefined)
    .map((key) => `${SHORT[key]} ${number(info[key], 4)}`);

/** What the strategy's sentence says with numbers. @param {Record<string, any>} info */
export const rareValues = (info) => ({
  typical: number(100 * (info.typical_p || 0), 1),
  epsilon: number(100 * (info.epsilon_cutoff || info.eta_cutoff || 0), 3),
  n: number(info.top_n_sigma, 2),
  threshold: number(100 * (info.xtc_threshold || 0), 1),
  chance: number(100 * (info.xtc_probability || 0), 0),
  tau: number(info.mirostat_tau, 1),
});

/** The folded fields; `lane(strategy)` gives the box that switches a lane on.
 * @param {any} form @param {Function} lane */
export const rareFields = (form, lane) =>
  h(
    "details",
    { class: "more" },
    h("summary", {}, t("rare_lanes")),
    h(
      "div",
      { class: "lanepick", role: "group", "aria-label": t("rare_lanes") },
      RARE.map((each) => lane(each)),
    ),
    h(
      "div",
      { class: "settings" },
      Object.values(OWN)
        .flat()
        .map((key) => form.number(key)),
    ),
  );
