/* What the browser keeps of a visitor's path, and what follows from it. Knows no page. */
import { randomId } from "../lib/api.js";

export const KEY = "llmdemo-lessons";

/**
 * @typedef {object} Past
 * @property {string[]} done ids of lessons
 * @property {string} code anonymous, for the quiz
 * @property {string} [last] the lesson that was open
 * @property {{right: number}} [before] the quiz's results
 * @property {{right: number}} [after]
 */

/** What is kept, or a beginning where that is nothing of ours. @returns {Past} */
export const progress = () => {
  /** @type {any} */
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(KEY) || "{}") || {};
  } catch {
    // a private window, or something else under that name
  }
  const done = Array.isArray(stored.done) ? stored.done.filter((id) => typeof id === "string") : [];
  const code = /^[0-9a-f]{8,32}$/.test(stored.code) ? stored.code : randomId();
  return { ...stored, done, code };
};

/** Keeps it, where the browser allows it. */
export const kept = (past) => {
  try {
    localStorage.setItem(KEY, JSON.stringify(past));
  } catch {
    // then it is forgotten with the page
  }
};

/** The lesson after this one, or null. @param {{id: string}[]} lessons @param {string} id */
export const nextOf = (lessons, id) => lessons[lessons.findIndex((lesson) => lesson.id === id) + 1]?.id ?? null;

/** A lesson's address. @param {string} href @param {string} id */
export const linkOf = (href, id) => {
  const address = new URL(href);
  address.searchParams.set("lesson", id);
  return address.href;
};

/** {right: how many answers are}. @param {(number | null)[]} answers @param {number[]} right */
export const score = (answers, right) => ({ right: answers.filter((answer, n) => answer === right[n]).length });

/**
 * [item, its place] in an order that `seed` alone decides, so that no pupil learns where right answers stand.
 * @template T @param {T[]} items @param {string} seed @returns {[T, number][]}
 */
export const shuffled = (items, seed) => {
  let state = 2166136261; // FNV-1a
  const next = (code) => (state = Math.imul(state ^ code, 16777619) >>> 0);
  for (const character of seed) next(character.charCodeAt(0));
  /** @type {[T, number][]} */
  const found = items.map((item, n) => [item, n]);
  for (let n = found.length - 1; n > 0; n -= 1) {
    const other = (next(n) >>> 8) % (n + 1);
    [found[n], found[other]] = [found[other], found[n]];
  }
  return found;
};
