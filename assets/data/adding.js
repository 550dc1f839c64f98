/* Data on its way in, one after the other: files are sent to the app, which then reads them; the sample and what comes
   from the hub are read alike. Knows no element of the page. */
import { ask, t } from "../lib/panel.js";

const PAUSE_MS = 100;
const LOST_PAUSE_MS = 1000;
const MOST_LOST = 60; // answers that a lost connection has cost, one after the other

/** @typedef {{message: string, hint?: string}} Notice */
/** @typedef {{key: string, name: string, asked: any, error: Notice | null}} Form */
/** What is to be read: `begin` gives the app's first answer, or null where it was stopped.
   `name`: "" where only the app knows it; `key`: the app's, where that has begun to read it already.
   @typedef {{name: string, key?: string, begin: () => Promise<any>}} Item */

/** @param {number} ms @returns {Promise<any>} */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Sends files, as Gradio's own field does; `stop` of what comes back ends it.
 * @param {File[]} files
 * @param {(share: number) => void} progress
 * @returns {{sent: Promise<{paths?: string[], error?: Notice}>, stop: () => void}} neither of them where it was stopped
 */
export const sendFiles = (files, progress) => {
  const request = new XMLHttpRequest();
  const form = new FormData();
  for (const file of files) form.append("files", file);
  const failed = (hint) => ({ error: { message: t("data_send_failed", { name: files[0].name }), hint } });
  const sent = new Promise((done) => {
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => done(failed(t("connection_lost")));
    request.onabort = () => done({});
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 200 && Array.isArray(answer)) done({ paths: answer });
      else done(failed(typeof answer?.detail === "string" ? answer.detail : `HTTP ${request.status}`));
    };
  });
  request.open("POST", new URL("../../gradio_api/upload", import.meta.url).href);
  request.send(form);
  return { sent, stop: () => request.abort() };
};

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

/**
 * What is wrong with the columns that were chosen: roles without one, and roles that share one. With the instruction
 * as its answer, a model would learn to repeat.
 * @param {string[]} roles @param {Record<string, string>} chosen {role: column}
 */
export const columnFaults = (roles, chosen) => {
  const missing = roles.filter((role) => !chosen[role]);
  const sharing = (role) => roles.filter((each) => chosen[role] && chosen[each] === chosen[role]);
  return { missing, twice: roles.map(sharing).find((same) => same.length > 1) || [] };
};

/** What is being added, what waits, and what the person has to be told or asked. */
export class Adding {
  /** @type {Item[]} */
  waiting = [];
  /** What is on its way: `share` and `what` as the app tells, `sending` before that. */
  now = /** @type {any} */ (null);
  notice = /** @type {Notice | null} */ (null);
  /** @type {Form[]} */
  forms = [];
  /** The island's functions, once it is there. */
  server = /** @type {any} */ (null);

  /** @param {{draw: () => void, done: (datasetId: string) => void, send?: typeof sendFiles, call?: typeof ask,
     wait?: typeof pause}} given `draw` after each change, `done` when one was added */
  constructor({ draw, done, send = sendFiles, call = ask, wait = pause }) {
    this.draw = draw;
    this.done = done;
    this.send = send;
    this.call = call;
    this.wait = wait;
  }

  /** The island is there. */
  connect(server) {
    this.server = server;
    this.go();
  }

  /** @param {File[]} files which become one data set */
  files(files) {
    const more = files.length - 1;
    const name = more ? `${files[0].name} + ${more}` : files[0].name;
    this.put({ name, begin: () => this.sendAndRead(files) });
  }

  sample() {
    this.put({ name: "", begin: () => this.call(this.server, "add_sample", {}) });
  }

  /** What the app has begun already; it tells once more of what is on its way here. */
  begun(state) {
    const { key, name } = state;
    if (![this.now, ...this.waiting].some((item) => item?.key === key))
      this.put({ name, key, begin: async () => state });
  }

  /** A form of columns as it was filled in; it comes back where they don't fit. @param {Form} form */
  mapped(form, columns, task) {
    const asked = { ...form.asked, guess: columns, task };
    this.leave(form);
    this.put({
      name: form.name,
      begin: async () => {
        const state = await this.read("add_mapped", { key: form.key, columns, task });
        if (state?.error && !state.ask) this.forms.push({ ...form, asked, error: state.error });
        return state?.error && !state.ask ? null : state;
      },
    });
  }

  /** The form is given up. @param {Form} form */
  leave(form) {
    this.forms = this.forms.filter((each) => each !== form);
    this.draw();
  }

  stop() {
    this.now?.stop?.();
  }

  /** What waits for its turn is given up. @param {Item} item */
  drop(item) {
    this.waiting = this.waiting.filter((each) => each !== item);
    if (item.key) this.call(this.server, "stop", { key: item.key });
    this.draw();
  }

  // ---- one after the other

  put(item) {
    this.waiting.push(item);
    this.go();
    this.draw();
  }

  async go() {
    if (this.now || !this.server) return;
    const item = this.waiting.shift();
    if (!item) return;
    this.now = { name: item.name, key: item.key, share: null, what: "" };
    this.notice = null;
    this.draw();
    const state = await this.follow(await item.begin());
    this.now = null;
    if (state?.ask)
      this.forms.push({
        key: state.key,
        name: state.name,
        asked: { ...state.ask, name: state.name },
        error: state.error,
      });
    else if (state?.error) this.notice = state.error;
    this.draw();
    if (state?.dataset_id) this.done(state.dataset_id);
    await this.go();
  }

  async sendAndRead(files) {
    Object.assign(this.now, { sending: true });
    const { sent, stop } = this.send(files, (share) => this.show({ share }));
    this.show({ stop });
    const { paths, error } = await sent;
    if (error) return { error };
    if (!paths) return null;
    this.show({ sending: false, share: null, stop: null });
    return this.call(this.server, "add_files", { paths });
  }

  /** Begins by this function of the app, and follows to the end. */
  async read(name, request) {
    return this.follow(await this.call(this.server, name, request));
  }

  /** Asks how far it is until it has ended; its last state. */
  async follow(first) {
    let state = first;
    let lost = 0;
    const over = () => !state || state.error || state.dataset_id || state.stopped;
    while (!over()) {
      const { key, news, name, share, what } = state;
      this.show({ name, share, what, stop: () => this.call(this.server, "stop", { key }) });
      await this.wait(lost ? LOST_PAUSE_MS : PAUSE_MS);
      const answer = await this.call(this.server, "added", { key, news });
      lost = answer.lost ? lost + 1 : 0;
      if (!answer.lost || lost > MOST_LOST) state = answer;
    }
    return state;
  }

  show(news) {
    Object.assign(this.now, news);
    this.draw();
  }
}
