import assert from "node:assert/strict";
import test from "node:test";
import { besideFirst, modelOf, stepsOf } from "../../assets/evaluate/step-menu.js";

const models = [{ id: "starter" }, { id: "run-1", steps: [0, 4, 8] }];

test("a run's kept steps are choices of an evaluation, the finished model first", () => {
  assert.deepEqual(
    stepsOf(models[1]).map(([id]) => id),
    ["run-1", "run-1@8", "run-1@4", "run-1@0"],
  );
  assert.deepEqual(stepsOf(models[0]), []);
});

test("a step that is kept no longer is no model of the menu", () => {
  assert.equal(modelOf(models, "run-1@4"), models[1]);
  assert.equal(modelOf(models, "run-1@5"), undefined);
  assert.equal(modelOf(models, "starter"), models[0]);
});

test("a run is compared with itself at its first step, a model without steps with nothing", () => {
  assert.equal(besideFirst(models, "run-1", "run-1"), "run-1@0");
  assert.equal(besideFirst(models, "run-1@8", "run-1"), "run-1");
  assert.equal(besideFirst(models, "starter", "starter"), "");
});
