import assert from "node:assert/strict";
import test from "node:test";
import { blocksOf } from "../../assets/train/architecture.js";
import { short } from "../../assets/train/presets.js";

test("a count of weights or tokens is told in two or three digits", () => {
  const told = [134515008, 1711376384, 8030261248, 2e12, 36e12, 3.3e12, 3e11, 999885952].map(short);
  assert.deepEqual(told, ["135 M", "1.7 B", "8 B", "2 T", "36 T", "3.3 T", "300 B", "1 B"]);
});

test("blocks stand in the model's order, with the sum and share of their parts", () => {
  const part = (block, parameters) => ({ block, parameters, name: block, shape: [1], count: 1 });
  const parts = [part("embedding", 50), part("mlp", 20), part("attention", 20), part("mlp", 10)];
  const blocks = blocksOf({ parts, parameters: 100 });
  assert.deepEqual(
    blocks.map((each) => [each.block, each.parameters, each.share, each.parts.length]),
    [
      ["embedding", 50, 0.5, 1],
      ["attention", 20, 0.2, 1],
      ["mlp", 30, 0.3, 2],
    ],
  );
});
