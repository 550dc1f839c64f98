import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";

Object.defineProperty(globalThis, "navigator", { value: { languages: ["zh-TW", "en"] } });
const languages = {
  en: { name: "English", tags: ["en"] },
  "zh-TW": { name: "繁體中文", tags: ["zh-TW", "zh-HK", "zh-MO", "zh-Hant", "zh"] },
  de: { name: "Deutsch", tags: ["de"] },
};
const meta = { content: JSON.stringify(languages) };
globalThis.document = /** @type {any} */ ({
  querySelector: (what) => what === 'meta[name="llmdemo-languages"]' && meta,
});
const { inWords, lang, languageFor, sentences, t, useWords } = await import("../../assets/lib/words.js");
const read = (name) => JSON.parse(readFileSync(new URL(`../../assets/words/${name}.json`, import.meta.url), "utf8"));
useWords({ ...read("zh-TW"), ...read("said.zh-TW") });

test("what the app says reaches a Chinese page in Chinese", () => {
  assert.equal(lang, "zh-TW");
  const error = { $say: "err_empty_file", values: { name: "a.csv" }, text: "a.csv is empty." };
  assert.deepEqual(inWords({ error: { message: error, hint: "" } }), {
    error: { message: "a.csv 是空的。", hint: "" },
  });
});

test("a sentence inside of another is in Chinese too", () => {
  const noun = { $say: "noun_run", values: {}, text: "run" };
  const said = { $say: "err_going", values: { noun }, text: "The run is still running." };
  assert.equal(inWords(said), t("err_going", { noun: "訓練" }));
});

test("a list is joined as Chinese joins it, and a key that this page does not know leaves the English text", () => {
  const said = { $say: "err_no_shape_hint", values: { names: ["a", "b", "c"] }, text: "Choose a, b or c." };
  assert.equal(inWords(said), "請選擇 a、b或c。");
  assert.equal(inWords({ $say: "no_such_key", values: {}, text: "In English." }), "In English.");
});

test("rows that are named with how many more there are say their measure word once", () => {
  const rows = t("rows_and_more", { rows: "1, 2", n: 67 });
  assert.equal(t("rows_named", { rows, n: 69 }), "第 1, 2，以及另外 67 列");
});

test("a sentence names the settings of a run as the form does, and the arena's as they are", () => {
  const said = (text) => inWords({ $say: "no_such_key", values: {}, text });
  assert.equal(said("eval_share is 2."), "「保留比例」 is 2.".replace("保留比例", t("f_eval_share")));
  assert.equal(said(`${t("f_max_length")}（max_length）太短。`), `${t("f_max_length")}太短。`);
  assert.equal(said("4 GB（keep_steps_gb）。"), `4\u00a0GB（「${t("f_keep_steps_gb")}」）。`);
  for (const text of [
    "max_new_tokens is 0.",
    'Give {"eval_share": 0.1}.',
    "no_setting_at_all",
    "my/eval_share",
    "max_length.csv: bad.",
  ])
    assert.equal(said(text), text);
});

test("a browser gets the language that it wants first of those that are there", () => {
  // the same cases as in tests/core/test_languages.py
  const cases = JSON.parse(readFileSync(new URL("../core/languages.json", import.meta.url), "utf8"));
  for (const { accepted, language } of cases) assert.equal(languageFor(accepted), language, accepted.join());
});

test("sentences stand a blank apart, but not behind a full-width mark", () => {
  assert.equal(sentences("One.", "", "Two.", "Three."), "One. Two. Three.");
  assert.equal(sentences("完成：4 步。", "先前問過。", "bfloat16 權重。"), "完成：4 步。先前問過。bfloat16 權重。");
  assert.equal(sentences("，共 3 筆：", "只學回答。"), "，共 3 筆：只學回答。");
  assert.equal(sentences(), "");
});

test("a number and its unit stay on one line, in the page's own words and in what the app says", () => {
  useWords({ a: "{n} MB in {s} s, a 95 %-interval, 3 stores, {n} {n|byte|bytes}", b: "占 {p} %表示" });
  assert.equal(t("a", { n: 5, s: 2 }), "5\u00a0MB in 2\u00a0s, a 95\u00a0%-interval, 3 stores, 5 bytes");
  assert.equal(t("b", { p: 7 }), "占 7\u00a0%表示");
  assert.equal(
    inWords({ $say: "x", values: {}, text: "16 % of 2.5 GB is free." }),
    "16\u00a0% of 2.5\u00a0GB is free.",
  );
});

test("no script parts a number from its unit", () => {
  const root = new URL("../../assets/", import.meta.url);
  const scripts = readdirSync(root, { recursive: true }).filter((name) => /^(?!lib.preact).*\.js$/.test(String(name)));
  const parted = /\} (?:%|[kMG]i?B|m?s)[`) ]|" (?:%|[kMG]i?B|m?s)"/;
  const wrong = scripts.filter((name) =>
    readFileSync(new URL(String(name), root), "utf8")
      .split("\n")
      .some((line) => parted.test(line) && !/^\s*(?:\/?\*|\/\/)/.test(line)),
  );
  assert.ok(scripts.length > 100);
  assert.deepEqual(wrong, []);
});
