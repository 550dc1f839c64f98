import assert from "node:assert/strict";
import test from "node:test";
import { hacking } from "../../assets/train/hacking.js";

const run = (reward, check) => ({ eval_reward: { value: reward }, eval_held_out_check: { value: check } });

test("a reward that rises while the held-out check does not is being won without right answers", () => {
  assert.deepEqual(hacking(run([0.2, 0.5, 0.9], [0.3, 0.3, 0.1])), { reward: [0.2, 0.9], check: [0.3, 0.1] });
});

test("nothing is said where both rise, where neither does, or by the noise of a few answers", () => {
  assert.equal(hacking(run([0.2, 0.9], [0.2, 0.8])), null);
  assert.equal(hacking(run([0.2, 0.25], [0.2, 0.1])), null);
  assert.equal(hacking(run([0.9, 0.2], [0.2, 0.1])), null);
  assert.equal(hacking({ eval_reward: { value: [0.1, 0.9] } }), null);
  assert.equal(hacking({}), null);
});
