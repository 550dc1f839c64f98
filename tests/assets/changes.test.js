/* The heat map of what training changed: its rows, its gaps and its sentence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { useWords } from "../../assets/lib/words.js";
import { grid, summary } from "../../assets/train/changes.js";

const of = (layer, kind, relative) => ({ layer, kind, relative, effective_rank: null, inside: null, by_chance: null });

test("kinds stand in their usual order, layers beside each other, and what is not there yet is a gap", () => {
  const { kinds, rows } = grid([of(0, "mlp.up_proj", 1), of(1, "self_attn.q_proj", 2), of(null, "embed_tokens", 9)]);
  assert.deepEqual(kinds, ["self_attn.q_proj", "mlp.up_proj"]);
  assert.deepEqual(
    rows.map((row) => row.map((each) => each?.relative ?? null)),
    [
      [null, 2],
      [1, null],
    ],
  );
});

test("the sentence has the mean over the layers and the most, and is empty where nothing has the figure", () => {
  useWords({ changes_mean_relative: "{mean} {name} {most}" });
  const matrices = [of(0, "q", 0.01), of(1, "q", 0.03), of(null, "embed_tokens", 5)];
  assert.equal(summary(matrices, "relative"), "2.00\u00a0% q 1 3.00\u00a0%");
  assert.equal(summary(matrices, "inside"), "");
});
