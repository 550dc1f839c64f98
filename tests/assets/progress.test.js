/* What the browser keeps of the path, and what the lessons' data promises. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { KEY, kept, linkOf, nextOf, progress, score } from "../../assets/learn/progress.js";
import { keptBy } from "../../assets/learn/decoding-views.js";

const store = new Map();
globalThis.localStorage = /** @type {any} */ ({
  getItem: (key) => store.get(key) ?? null,
  setItem: (key, value) => store.set(key, value),
});

test("progress is kept, and what is no progress of ours is begun anew", () => {
  const first = progress();
  assert.match(first.code, /^[0-9a-f]{18}$/);
  kept({ ...first, done: ["loss"], last: "galore" });
  assert.deepEqual([progress().done, progress().last, progress().code], [["loss"], "galore", first.code]);
  for (const odd of ["{", "null", '{"done": 5, "code": "<b>"}']) {
    store.set(KEY, odd);
    assert.deepEqual(progress().done, []);
    assert.match(progress().code, /^[0-9a-f]{18}$/);
  }
});

test("the next lesson, a lesson's link and a score", () => {
  const lessons = [{ id: "a" }, { id: "b" }];
  assert.deepEqual([nextOf(lessons, "a"), nextOf(lessons, "b")], ["b", null]);
  assert.equal(linkOf("http://x/?arena=1&lesson=a", "b"), "http://x/?arena=1&lesson=b");
  assert.deepEqual(score([0, null, 2], [0, 1, 1]), { right: 1 });
});

test("top-p keeps the token that crosses p, and an exact hit adds none", () => {
  assert.deepEqual([keptBy([0.5, 0.3, 0.2], 0.8), keptBy([0.5, 0.3, 0.2], 0.81), keptBy([0.5, 0.3], 0)], [2, 3, 1]);
});

test("each lesson, question and resource has its words, and points to what there is", () => {
  const read = (name) => JSON.parse(readFileSync(new URL(`../../assets/${name}`, import.meta.url), "utf8"));
  const { lessons, quiz, plans, resources } = read("learn/lessons.json");
  const words = read("words/en.json");
  const ids = lessons.map((lesson) => lesson.id);
  const lacking = (...keys) => assert.deepEqual(keys.filter((key) => !(key in words)), []); // prettier-ignore
  assert.equal(new Set(ids).size, ids.length);
  for (const { id, view, panel, right, needs } of lessons) {
    lacking(`lesson_${id}_title`, `lesson_${id}_why`);
    if (view !== "start") lacking(...["ask", "a", "b", "c"].map((key) => `lesson_${id}_${key}`));
    if (panel) lacking(`lesson_${id}_see`, `lesson_open_${panel}`);
    if (needs) lacking(`lesson_needs_${needs}`);
    assert.ok(view === "start" || [0, 1, 2].includes(right), id);
  }
  assert.equal(quiz.right.length, 10);
  quiz.right.forEach((_, n) => lacking(...["ask", "a", "b", "c"].map((key) => `quiz_${n + 1}_${key}`)));
  assert.ok(Object.values(plans).flat().every((id) => ids.includes(id))); // prettier-ignore
  for (const [length, named] of Object.entries(plans)) {
    const minutes = named.map((id) => lessons.find((lesson) => lesson.id === id).minutes).reduce((a, b) => a + b, 10);
    assert.ok(minutes <= Number(length) && minutes > Number(length) - 10, `${minutes} of ${length}`); // with the quiz twice
  }
  for (const { who } of lessons) lacking(`lesson_who_${who}`);
  for (const { id, lesson, panel } of resources) {
    lacking(`resource_${id}_title`, `resource_${id}_about`);
    assert.ok(lesson ? ids.includes(lesson) : panel, id);
  }
});
