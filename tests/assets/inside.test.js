/* What the card asks about a token, and how it tells what comes back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { questionOf, shades } from "../../assets/arena/inside.js";
import { cellsOf, decidedIn } from "../../assets/learn/lens-map.js";
import { useWords } from "../../assets/lib/words.js";

const trace = (...ids) => ({ meta: { prompt: { raw: "a" }, models: ids.map((id) => ({ id })) } });
const shown = [{ i: 5 }, { i: 6 }, { i: 7 }];

test("the question holds the answer's tokens before the one that was pointed at, not that one", () => {
  const asked = questionOf({ info: { model: 0 } }, trace("starter"), shown, 2);
  assert.deepEqual([asked.prefix_ids, asked.token, asked.beside], [[5, 6], 7, ""]);
});

test("a run stands beside its base, and of two models each beside the other", () => {
  assert.equal(questionOf({ info: { model: 0 } }, trace("run-1"), shown, 0).beside, "base");
  assert.equal(questionOf({ info: { model: 1 } }, trace("starter", "run-1"), shown, 0).beside, "starter");
});

test("the sentence says who decides what where", () => {
  useWords({
    arena_lens_decides: "{answer} {layer}/{layers}",
    arena_lens_decides_two: "{title} {answer} {layer}; {title2} {answer2} {layer2}",
  });
  const model = (title, decided, answer) => ({ title, decided, answer, layers: 30 });
  const names = { 1: " Paris", 2: " the" };
  assert.equal(decidedIn({ models: [model("a", 27, 1)], names }), "␣Paris 27/30");
  const two = [model("tuned", 19, 1), model("base", 27, 2)];
  assert.equal(decidedIn({ models: two, names }), "tuned ␣Paris 19; base ␣the 27");
});

test("shades keep the sign, are whole at the largest, and the first token's anchor does not pale the rest", () => {
  assert.deepEqual(shades([{ score: 90 }, { score: 2 }, { score: -1 }]), [1, 1, -0.5]);
});

test("a map's last row on the page is the first layer, and each cell the probability of its likeliest token", () => {
  const rows = [
    [[[1, 0.2]], [[2, 0.3]]],
    [[[1, 0.9], [3, 0.1]], [[2, 0.8]]],
  ]; // prettier-ignore
  assert.deepEqual(cellsOf(/** @type {any} */ ({ rows })), [
    [0.9, 0.8],
    [0.2, 0.3],
  ]);
});
