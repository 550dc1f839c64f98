import assert from "node:assert/strict";
import test from "node:test";
import { overfitting } from "../../assets/train/overfitting.js";

const curve = (value, every = 10) => ({
  step: value.map((_, i) => i * every),
  seconds: value.map((_, i) => i * every * 2),
  value,
});
const steps = (spans) => spans.map((each) => each.step);
const falling = curve([3, 2.5, 2, 1.5, 1, 0.5]);

test("from the lowest held-out loss to the last evaluation, where the training loss goes on falling", () => {
  const [span, ...others] = overfitting(curve([3, 2, 1, 1.5, 2, 2.5]), falling);
  assert.deepEqual(span, { step: [20, 50], seconds: [40, 100], held: [1, 2.5], train: [2, 0.5] });
  assert.equal(others.length, 0);
});

test("a rise that a new minimum follows ends at its top", () => {
  assert.deepEqual(steps(overfitting(curve([3, 1, 1.5, 2, 1.5, 0.9]), falling)), [[10, 30]]);
});

test("nothing where the held-out loss falls, is flat, or rises by noise", () => {
  assert.deepEqual(overfitting(curve([3, 2.5, 2, 1.5, 1, 0.5]), falling), []);
  assert.deepEqual(overfitting(curve([2, 2, 2, 2, 2, 2]), falling), []);
  assert.deepEqual(overfitting(curve([3, 2, 1, 1.005, 1.004, 1.002]), falling), []);
});

test("nothing where the training loss rises as well: that is divergence, not overfitting", () => {
  assert.deepEqual(overfitting(curve([3, 1, 2, 3, 4, 5]), curve([3, 1, 2, 3, 4, 5])), []);
});

test("the training loss is read at the nearest step", () => {
  const train = { step: [1, 9, 11, 19, 21], seconds: [1, 9, 11, 19, 21], value: [3, 2, 2, 1, 1] };
  assert.deepEqual(steps(overfitting(curve([2, 1, 1.5]), train)), [[10, 20]]);
});

test("no curve is no span", () => {
  assert.deepEqual(overfitting(undefined, falling), []);
  assert.deepEqual(overfitting(curve([]), falling), []);
  assert.deepEqual(overfitting(curve([1, 2]), undefined), []);
});
