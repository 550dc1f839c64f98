/* How the parts of the page are mounted, call the app, and tell each other what has happened. Knows no panel.

   An island (Python's bridge.island()) comes as {name, el, props, trigger, server, watch} into window.llmdemoIslands,
   where lib/no-eval.js puts it. */
import { inWords, lang, t } from "./words.js";

/**
 * @typedef {object} Island
 * @property {string} name
 * @property {HTMLElement} el
 * @property {{value: any}} props
 * @property {(event: string, data?: any) => void} trigger
 * @property {Record<string, (data: any) => Promise<any>>} server
 * @property {(name: string, act: () => void) => void} watch
 */

/** @type {Record<string, (island: Island) => void>} */
const drawers = {};

/** Says how the islands called `name` are drawn. @param {string} name @param {(island: Island) => void} draw */
export const define = (name, draw) => {
  drawers[name] = draw;
};

/** @type {Record<string, () => Promise<any>>} */
const modules = {};

/** Says which module defines these islands, where it isn't fetched with the page. @param {string[]} names
   @param {() => Promise<any>} load */
export const later = (names, load) => names.forEach((name) => (modules[name] = load));

/** An island's value as it is now, its sentences in the page's language. @param {{value: any}} props */
const inPageWords = (props) => ({
  get value() {
    return inWords(props.value);
  },
});

/** Draws the islands that are there, and from now on each that comes. */
export const start = () => {
  const page = /** @type {any} */ (window);
  /** @param {Island} island */
  const mount = (island) => {
    const draw = drawers[island.name];
    if (island.el.dataset.mounted) return;
    if (!draw) {
      const failed = () => (island.el.textContent = t("connection_lost"));
      modules[island.name]?.().then(() => mount(island), failed);
      return;
    }
    island.el.dataset.mounted = "1";
    document.documentElement.lang = lang;
    draw({ ...island, props: inPageWords(island.props) });
  };
  const waiting = page.llmdemoIslands || [];
  page.llmdemoIslands = { push: mount };
  waiting.forEach(mount);
};

/** A call to the app: what it answers, or {error}; a lost connection, where Gradio's client gives undefined, is an
   error like any other. */
export const ask = async (server, name, data) => {
  let answer;
  try {
    answer = await server[name](data || {});
  } catch {
    // as undefined
  }
  return answer === undefined ? { error: { message: t("connection_lost"), hint: "" }, lost: true } : inWords(answer);
};

/**
 * A question of which only the newest answer counts: each who asked gets the answer to what was asked last, as answers
 * may come in another order than they were asked for. All get it when it comes, in the order in which they asked, so
 * that who asked last also acts last.
 * @template {any[]} Given
 * @param {(...given: Given) => Promise<any>} question
 * @returns {(...given: Given) => Promise<any>}
 */
export const newest = (question) => {
  /** @type {Promise<any> | null} */
  let last = null;
  /** @type {((answer: Promise<any>) => void)[]} */
  const waiting = [];
  return (...given) =>
    new Promise((take) => {
      waiting.push(take);
      const asked = (last = question(...given));
      const give = () => {
        if (asked !== last) return;
        for (const each of waiting.splice(0)) each(asked);
      };
      asked.then(give, give);
    });
};

/**
 * A call that makes something: null while the same is under way, as when a button is pressed twice.
 * @template {any[]} Given
 * @param {(...given: Given) => Promise<any>} call
 * @returns {(...given: Given) => Promise<any>}
 */
export const once = (call) => {
  const going = new Set();
  return async (...given) => {
    const key = JSON.stringify(given);
    if (going.has(key)) return null;
    going.add(key);
    try {
      return await call(...given);
    } finally {
      going.delete(key);
    }
  };
};

/** Whether a press is the second of a double click on a button that starts, makes or sends something: it would do so
   twice where the first was answered in between. @param {{detail: number, target: any}} event */
export const isRepeated = ({ detail, target }) =>
  detail > 1 && Boolean(target?.closest?.(".island .btn.strong, .island button[type=submit]"));

/** A name that nobody guesses, for what the page asks for. */
export const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const bus = new EventTarget();

/** Names that somebody listens to. @type {Set<string>} */
const heard = new Set();

/** What was told while nobody listened, as a panel's scripts are fetched when it is opened. @type {Map<string, any>} */
const untold = new Map();

/** Tells the other parts of the page. @param {string} name @param {any} [detail] */
export const tell = (name, detail) => {
  if (!heard.has(name)) untold.set(name, detail);
  bus.dispatchEvent(new CustomEvent(name, { detail }));
};

/** Calls `act` whenever this is told, until what it returns is called; the first to listen also gets what was told last
   before. @param {string} name @param {(detail: any) => void} act */
export const hear = (name, act) => {
  const listen = (event) => act(event.detail);
  heard.add(name);
  bus.addEventListener(name, listen);
  if (untold.has(name)) {
    const detail = untold.get(name);
    untold.delete(name);
    queueMicrotask(() => act(detail));
  }
  return () => bus.removeEventListener(name, listen);
};

/** What a panel is asked for before it is made: it looks here first.
   @type {{model?: any, evaluation?: any, data?: any}} */
export const wanted = {};

/** Whether somebody can see `el`. @param {Element} el */
export const visible = (el) =>
  document.visibilityState === "visible" && el.isConnected && el.getClientRects().length > 0;

/** Calls `act` whenever `el` comes to be shown, as when its tab is opened, also where it lies below the screen.
   @param {Element} el @param {() => void} act */
export const whenShown = (el, act) =>
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && act(), {
    rootMargin: "100000px 0px",
  }).observe(el);

/** The first element that fits, or null: what is done with it says what it is. @param {string} selector
   @returns {any} */
export const find = (selector) => document.querySelector(selector);

/** Opens a panel by its id. @param {string} id */
export const openPanel = (id) => {
  const tab = find(`#panels button[role="tab"][data-tab-id="${id}"]`);
  tab?.click();
  return Boolean(tab);
};

/** Saves text as a file, without the server. @param {string} name @param {string} type @param {string} text */
export const save = (name, type, text) => saveBlob(name, new Blob([text], { type }));

/** @param {string} name @param {Blob} blob */
export const saveBlob = (name, blob) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
