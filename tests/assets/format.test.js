import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { beforeEach } from "node:test";
import {
  distinctNames,
  bytes,
  bytesForetold,
  clip,
  duration,
  int,
  inUnits,
  num,
  percent,
  setTime,
  setTitles,
  when,
} from "../../assets/lib/format.js";
import { has, inWords, t, useWords } from "../../assets/lib/words.js";

const words = JSON.parse(readFileSync(new URL("../../assets/words/en.json", import.meta.url), "utf8"));
beforeEach(() => useWords(words));
const plain = (text) => text.replace(/\u00a0/g, " ");

test("what is not known is a dash", () => {
  for (const said of [int(null), num(undefined), num(NaN), bytes(null), duration(null), duration(Infinity)])
    assert.equal(said, "–");
});

test("a value that a record lacks is a dash on the page, wherever it is to stand", () => {
  useWords({ ...words, a: "rank {rank}, every {gap:,} {gap|step|steps}, {x}" });
  assert.equal(t("a", { rank: undefined, gap: null, x: NaN }), "rank –, every – steps, –");
  assert.deepEqual([t(`state_${undefined}`), t(`f_${null}`), t("nothing_here")], ["–", "–", "nothing_here"]);
  const given = [undefined, null, NaN, "odd"];
  for (const said of [int, num, bytes, bytesForetold, percent, duration, when].flatMap((way) =>
    given.map((n) => way(n)),
  ))
    assert.ok(["–", "–\u00a0%"].includes(said), said);
  assert.deepEqual([clip(undefined, 3), clip(null, 3), clip("", 3)], ["", "", ""]);
});

test("numbers, sizes and shares", () => {
  assert.equal(int(1234.6), "1,235");
  assert.equal(num(1.005, 2), "1.01");
  assert.equal(num(2, 3), "2.000");
  assert.deepEqual([num(-0, 3), num(-0.0004, 3), num(-0.0006, 3)], ["0.000", "0.000", "−0.001"]);
  const sizes = [999, 1000, 999_499, 1e6, 2.5e9].map(bytes);
  assert.deepEqual(sizes.map(plain), ["999 B", "1 kB", "999 kB", "1 MB", "2.50 GB"]);
  assert.deepEqual([3.343e9, 3.307e9, 452e6].map(bytesForetold).map(plain), ["3.3 GB", "3.3 GB", "452 MB"]);
  assert.deepEqual([percent(0.125), percent(0.125, 1)].map(plain), ["13 %", "12.5 %"]);
  for (const figure of [...sizes, percent(0.125), inUnits(num(2, 1), "s")]) assert.ok(!figure.includes(" "), figure);
  useWords({ a: "{n:,} {x}" });
  assert.deepEqual([int(-1234), percent(-0.5), t("a", { n: -1234, x: -0.5 })], ["−1,234", "−50\u00a0%", "−1,234 −0.5"]);
});

test("a data set in a menu is told from its earlier versions, and from a file of the same name", () => {
  const made = (id, version, kept, time) => ({
    dataset_id: id,
    name: "a.json",
    version,
    kept,
    created: `2026-11-30T${time}+00:00`,
  });
  const alone = [made("one", 1, 1100, "20:19:55"), made("two", 2, 1099, "20:19:55")];
  assert.deepEqual(setTitles(alone), [
    ["one", "a.json · 1,100"],
    ["two", "a.json · v2 · 1,099"],
  ]);
  const again = [...alone, made("three", 1, 1100, "20:19:58")];
  const titles = setTitles(again).map(([, title]) => title);
  assert.equal(new Set(titles).size, 3);
  assert.match(titles[0], /^a\.json · 1,100 · Nov 30, 2026/);
  assert.deepEqual([setTime(again[1], again), setTime(again[0], alone)], ["", ""]);
});

test("runs of one name that are shown together are told apart by when they were made", () => {
  const made = (name, created) => ({ name, created });
  const names = distinctNames([
    made("GaLore · a.json", 1796070670),
    made("LoRA", 0),
    made("GaLore · a.json", 1796070675),
  ]);
  assert.equal(new Set(names).size, 3);
  assert.match(names[0], /^GaLore · a\.json · \w+ \d+, 2026/);
  assert.equal(names[1], "LoRA");
  assert.deepEqual(distinctNames([made("GaLore · a.json", 1796070670)]), ["GaLore · a.json"]);
});

test("what there is a little of is not said to be 0 %", () => {
  assert.deepEqual(
    [0, 0.0004, 0.004, 0.006, null].map((share) => plain(percent(share))),
    ["0 %", "<1 %", "<1 %", "1 %", "– %"],
  );
  assert.deepEqual([plain(percent(0.0004, 1)), plain(percent(0.00051, 1))], ["<0.1 %", "0.1 %"]);
});

test("times get coarser as they get longer, and stay on one line", () => {
  assert.deepEqual(
    [0, 59.4, 60, 599, 600, 3599, 3600, 36_610].map((s) => plain(duration(s))),
    ["0 s", "59 s", "1 min 0 s", "9 min 59 s", "10 min", "1 h 0 min", "1 h 0 min", "10 h 10 min"],
  );
  assert.ok(!duration(90).includes(" "));
});

test("texts are clipped with a sign", () => {
  assert.equal(clip("abcdef", 3), "abc…");
  assert.equal(clip("abc", 3), "abc");
});

test("a text's places are filled in, and those that nobody fills stay", () => {
  useWords({ a: "{n} of {all}" });
  assert.equal(t("a", { n: 1, all: "<b>" }), "1 of <b>");
  assert.equal(t("a", { n: 1 }), "1 of {all}");
  assert.equal(t("none"), "none");
  assert.deepEqual([has("a"), has("none")], [true, false]);
});

test("lists, counts and numbers have their forms", () => {
  const lists = { list_comma: ", ", list_or: " or ", list_and: " and " };
  useWords({ a: "{n:,} {n|record|records}", b: "{x:or}", c: "{x:and}", d: "{x}", ...lists });
  assert.equal(t("a", { n: 1234 }), "1,234 records");
  assert.equal(t("a", { n: 1 }), "1 record");
  assert.equal(t("a", { n: int(1) }), "1 record");
  assert.equal(t("b", { x: ["p", "q", "r"] }), "p, q or r");
  assert.equal(t("c", { x: ["p", "q"] }), "p and q");
  assert.equal(t("d", { x: ["p", "q"] }), "p, q");
});

test("the server's sentences become texts, wherever they stand in its answer", () => {
  useWords({ a: "in words" });
  const said = { $say: "a", values: { n: 1 }, text: "English" };
  assert.deepEqual(inWords({ rows: [said, "a", null, 3], error: said }), {
    rows: ["English", "a", null, 3],
    error: "English",
  });
});
