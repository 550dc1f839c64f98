import assert from "node:assert/strict";
import test from "node:test";

globalThis.document = /** @type {any} */ ({ querySelector: () => null });
const { languageOf, unspoken } = await import("../../assets/arena/speaks.js");

test("a language is told by its script, and none where the script is Latin", () => {
  const texts = {
    zh: "天空為什麼是藍色？",
    ja: "空はなぜ青い",
    ko: "하늘은 왜",
    ru: "Почему",
    "": "Pourquoi le ciel?",
  };
  for (const [language, text] of Object.entries(texts)) assert.equal(languageOf(text), language);
});

test("a model that was made for other languages is named, with one of the menu that speaks it, else one to fetch", () => {
  const starter = { id: "starter", ready: true, languages: ["en"] };
  const qwen = { id: "qwen", ready: true, languages: ["en", "zh"] };
  const run = { id: "run-1", ready: true, languages: [] }; // nobody knows what it was tuned on
  const preset = { id: "Qwen/Qwen3-0.6B", languages: ["en", "zh"] };
  const said = (text, chosen, menu) => unspoken(text, chosen, menu, [preset]);
  assert.equal(said("Why?", ["starter"], [starter]), null);
  assert.equal(said("為什麼？", ["qwen"], [starter, qwen]), null);
  assert.equal(said("為什麼？", ["run-1"], [starter, run]), null);
  assert.deepEqual(said("為什麼？", ["starter"], [starter]), {
    language: "zh",
    silent: starter,
    model: undefined,
    preset,
  });
  const found = said("為什麼？", ["qwen", "starter"], [starter, qwen]);
  assert.deepEqual([found?.silent, found?.model, found?.preset], [starter, qwen, undefined]);
});
