import assert from "node:assert/strict";
import test from "node:test";
import { orderOf, perplexities, snippetLoss, withoutLength } from "../../assets/arena/mistakes.js";

/* A step whose recorded tokens are 0, 1, 2, … with these probabilities; `i` was chosen. */
const step = (i, ...shares) => ({ i, a: shares.map((share, id) => [id, Math.log(share), share]) });
const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-6, `${a} is not ${b}`);

test("the snippet loses the token that crosses p at every step, and keeps nothing where the first one crosses", () => {
  const steps = [step(0, 0.95, 0.05), step(1, 0.6, 0.35, 0.05), step(0, 0.5, 0.3, 0.2), step(0, 0.2, 0.1)];
  const found = snippetLoss(steps, 0.9, 1); // the last step does not tell where p is crossed
  assert.deepEqual([found.steps, found.nothing, found.chosen], [3, 1, 2]);
  close(found.lost, (0.95 + 0.35 + 0.2) / 3);
});

test("an exact hit is crossed by the token that hits it", () => {
  assert.equal(snippetLoss([step(2, 0.5, 0.3, 0.2)], 0.8, 1).chosen, 0);
  close(snippetLoss([step(1, 0.5, 0.3, 0.2)], 0.8, 1).lost, 0.3);
});

test("a temperature after the filter keeps another set than one before it", () => {
  const hot = orderOf([step(0, 0.8, 0.15, 0.05), step(0, 1 - 1e-9, 1e-9)], 0.9, 2);
  assert.deepEqual([hot.steps, hot.differ, hot.before, hot.after], [2, 1, 2, 1.5]);
  assert.equal(orderOf([step(0, 0.8, 0.15, 0.05)], 0.9, 1).differ, 0);
});

test("without the length's power the shorter text wins where each token costs the same", () => {
  const long = [-1.0, "eos", [1, 2, 3, 4], "a long text"];
  const short = [-1.2, "eos", [1], "short"];
  const found = { same: false, tokens: 4, other: "short", others: 1 };
  assert.deepEqual(withoutLength([long, short], 1), found);
  assert.equal(withoutLength([long, [-5, "eos", [1], ""]], 1).same, true);
});

test("filtered probabilities flatter: their perplexity is lower than the model's", () => {
  const found = perplexities([
    { f: 0.5, l: Math.log(0.25) },
    { f: 1, l: Math.log(0.25) },
    { f: 0, l: null },
  ]);
  close(found.model, 4);
  close(found.filtered, Math.SQRT2);
});
