/* What the parts of the evaluate panel's right side share: what is shown, and what can be done. */
import * as L from "../lib/panel.js";

/** @type {any} */
export const state = {
  id: null,
  seen: null,
  status: null,
  result: {},
  records: [],
  list: [],
  sort: { key: "row", down: false },
  differ: false,
  all: false,
  open: null,
  side: 0,
  at: 0.5,
  klass: null,
  error: null,
  keys: {}, // of judges, each with its evaluation alone, so that none goes to another address
};

/** The island's element, functions and events, once it is there. @type {any} */
export const parts = {};

/** What result.js does: draws anew, asks the app anew. @type {{draw: () => void, look: (force?: boolean) => void}} */
export const page = { draw: () => {}, look: () => {} };

export const ask = (name, data) => L.ask(parts.server, name, data);

export const FIRST = "var(--greedy)";
export const SECOND = "var(--topk)";
export const GOOD = "var(--topp)";
export const SHARES = ["exact", "normalised", "acc", "acc_norm", "strict", "flexible", "ended"];
