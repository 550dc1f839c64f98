import assert from "node:assert/strict";
import test from "node:test";
import { constraintOf, forbidden } from "../../assets/arena/constraints.js";

test("a lane's form is the one that is on", () => {
  assert.equal(constraintOf({ json_schema: {}, regex: "", choice: [] }), "");
  assert.equal(constraintOf({ json_schema: {}, choice: ["yes", "no"] }), "choice");
  assert.equal(constraintOf({ json_schema: '{"type": "object"}', regex: "" }), "json_schema");
});

test("what a form forbade is the mean over the tokens, and where the likeliest token was forbidden", () => {
  const tokens = [
    {
      i: 1,
      g: 0.9,
      a: [
        [2, -0.1, 0],
        [1, -3, 1],
      ],
    },
    { i: 3, g: 0.1, a: [[3, -0.1, 1]] },
    {
      i: 4,
      g: 0.2,
      a: [
        [5, -0.1, 0.4],
        [4, -1, 0.6],
      ],
    }, // drawn, though the likeliest was allowed
  ];
  const { mean, ...rest } = forbidden(tokens);
  assert.deepEqual(rest, { overruled: 1, tokens: 3 });
  assert.ok(Math.abs(mean - 0.4) < 1e-9);
  assert.equal(forbidden([{ i: 1, a: [] }]), null);
});
