import assert from "node:assert/strict";
import test from "node:test";
import { idAt, partsOf } from "../../assets/arena/step-slider.js";

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
