import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { useWords } from "../../assets/lib/words.js";
import { standing } from "../../assets/train/figures.js";

useWords(JSON.parse(readFileSync(new URL("../../assets/words/en.json", import.meta.url), "utf8")));

test("a run is told by its losses, and what is not known is left out", () => {
  assert.deepEqual(standing({ loss: 0.5, eval_loss: 1.234, scores: {} }), [
    ["loss of the last step", "0.50"],
    ["held out", "1.23"],
  ]);
  assert.deepEqual(standing({ loss: null, eval_loss: undefined, scores: null }), []);
});

test("a run that learns from rewards is told by them, not by a loss that is always near 0", () => {
  const status = { loss: 0, eval_loss: 0.004, scores: { reward: 0.996, loss: 0.004 } };
  assert.deepEqual(standing(status, { reward: { value: [0.1, 0.75] } }), [
    ["reward", "75.0\u00a0%"],
    ["held-out reward", "99.6\u00a0%"],
  ]);
  assert.deepEqual(standing(status), [["held-out reward", "99.6\u00a0%"]]);
});
