/* Finished comparisons, kept in this browser: the latest within a number and a size. Knows no page, and of a comparison
   only what its line in a list says. */

/** `same`: equal for comparisons that ask the same. @typedef {{id: string, at: number, prompt: string, seed: number,
    models: string[], parent: string | null, same: string, size: number}} About */

/** @typedef {{all: () => Promise<About[]>, text: (id: string) => Promise<string | undefined>,
    put: (about: About, text: string) => Promise<unknown>, remove: (ids: string[]) => Promise<unknown>}} Shelf */

export const MOST = 40;
/** Characters of all together. */
const MOST_SIZE = 24e6;

export class Kept {
  /** The newest first. @type {About[]} */
  list = [];

  /** @param {Shelf} shelf @param {{most?: number, size?: number}} [limits] */
  constructor(shelf, { most = MOST, size = MOST_SIZE } = {}) {
    this.shelf = shelf;
    this.most = most;
    this.size = size;
  }

  /** Reads the list anew: another tab may have changed it. */
  async read() {
    const all = (await this.shelf.all()).filter((about) => typeof about?.id === "string");
    this.list = all.sort((a, b) => b.at - a.at);
  }

  /** Keeps one more, in the place of one that asked the same; the oldest go where it is too much. Gives its id.
     @param {Omit<About, "size">} about @param {string} text */
  async add(about, text) {
    const id = this.list.find((one) => one.same === about.same)?.id || about.id;
    await this.shelf.put({ ...about, id, size: text.length }, text);
    await this.read();
    let size = 0;
    const over = this.list.filter((one, at) => (size += one.size) > this.size || at >= this.most);
    if (over.length) await this.remove(over.map((one) => one.id));
    return id;
  }

  /** @param {string} id */
  text(id) {
    return this.shelf.text(id);
  }

  /** @param {string[]} ids */
  async remove(ids) {
    await this.shelf.remove(ids);
    this.list = this.list.filter((one) => !ids.includes(one.id));
  }
}

/** What forgets with the page: for browsers that keep nothing, as in some private windows. @returns {Shelf} */
export const forgetful = () => {
  const all = /** @type {Map<string, {about: About, text: string}>} */ (new Map());
  return {
    all: async () => [...all.values()].map((one) => one.about),
    text: async (id) => all.get(id)?.text,
    put: async (about, text) => all.set(about.id, { about, text }),
    remove: async (ids) => ids.forEach((id) => all.delete(id)),
  };
};

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** The browser's own database; what forgets where it has none. @returns {Promise<Shelf>} */
export const browserShelf = async () => {
  let base;
  try {
    const opening = indexedDB.open("llmdemo-comparisons", 1);
    opening.onupgradeneeded = () => ["about", "text"].forEach((name) => opening.result.createObjectStore(name));
    base = await done(opening);
  } catch {
    return forgetful();
  }
  const ended = (work) =>
    new Promise((resolve, reject) => {
      work.oncomplete = resolve;
      work.onabort = work.onerror = () => reject(work.error);
    });
  const change = (act) => {
    const transaction = base.transaction(["about", "text"], "readwrite");
    act(transaction.objectStore("about"), transaction.objectStore("text"));
    return ended(transaction);
  };
  return {
    all: () => done(base.transaction("about").objectStore("about").getAll()),
    text: (id) => done(base.transaction("text").objectStore("text").get(id)),
    put: (about, text) =>
      change((abouts, texts) => {
        abouts.put(about, about.id);
        texts.put(text, about.id);
      }),
    remove: (ids) => change((abouts, texts) => ids.forEach((id) => (abouts.delete(id), texts.delete(id)))),
  };
};
