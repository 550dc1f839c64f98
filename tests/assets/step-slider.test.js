import assert from "node:assert/strict";
import test from "node:test";
import { besidesOf } from "../../assets/arena/step-slider.js";
import { idAt, partsOf } from "../../assets/lib/kept-steps.js";

test("the slider's end is the finished model, each other place a kept step", () => {
  const steps = [0, 4, 8];
  assert.deepEqual(
    [0, 1, 2, 3].map((place) => idAt("run-20261129-1-ab", steps, place)),
    ["run-20261129-1-ab@0", "run-20261129-1-ab@4", "run-20261129-1-ab@8", "run-20261129-1-ab"],
  );
});

test("a model's id is told apart from its step, a hub's revision and the last step are none", () => {
  assert.deepEqual(partsOf("run-20261129-1-ab@12"), { id: "run-20261129-1-ab", step: 12 });
  for (const id of ["starter", "org/name@12", "run-x@last", "/folder/run-x@1/y"])
    assert.deepEqual(partsOf(id), { id, step: null });
});

test("what is loaded ahead are the kept steps beside the place, that in the slider's direction first", () => {
  const beside = (place, back) => besidesOf("run-1", [0, 4, 8], place, back);
  assert.deepEqual(beside(1, true), ["run-1@0", "run-1@8"]);
  assert.deepEqual(beside(1, false), ["run-1@8", "run-1@0"]);
  assert.deepEqual(beside(3, true), ["run-1@8", "run-1@4"], "the finished model is in the menu, and is loaded as such");
  assert.deepEqual(beside(0, false), ["run-1@4", "run-1@8"]);
  assert.deepEqual(besidesOf("", [], 0, true), []);
});
