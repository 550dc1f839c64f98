/* What the parts of a run's page share: what is shown, and what can be done. */
import * as L from "../lib/panel.js";

/** The island's elements, functions and events, once they are there. @type {any} */
export const parts = {};

/** @type {any} */
export const view = {
  id: null,
  run: null,
  runs: [],
  compared: new Set(),
  curves: [],
  differ: {},
  all: true,
  over: "step",
  prompt: 0,
  round: null, // which round of drawn answers is looked at; null: the newest
  known: "lost", // which records of what the model knew before are listed
  heat: null,
  seen: null,
  log: null,
  error: null,
  packing: false,
  opening: false,
  path: "",
  open: {},
};

export const ask = (name, data) => L.ask(parts.server, name, data);

/** What run.js does: draws anew, asks the app anew, opens another run.
   @type {Record<string, (...given: any[]) => any>} */
export const page = {};
