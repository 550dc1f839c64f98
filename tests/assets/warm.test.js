import assert from "node:assert/strict";
import test from "node:test";
import { Warm } from "../../assets/arena/warm.js";

test("models are loaded one after another, and no further once others are wanted", async () => {
  const asked = [];
  const answers = [];
  const server = { warm: ({ model_id }) => (asked.push(model_id), new Promise((done) => answers.push(done))) };
  const warm = new Warm(server);
  const first = warm.want(["a", "b", "c"], "auto");
  warm.want(["a", "b", "c"], "auto"); // the same again asks nothing
  assert.deepEqual(asked, ["a"], "the next waits for the answer");
  answers.shift()({});
  await new Promise((done) => setTimeout(done));
  assert.deepEqual(asked, ["a", "b"]);
  const second = warm.want(["d"], "auto");
  answers.shift()({});
  answers.shift()({});
  await Promise.all([first, second]);
  assert.deepEqual(asked, ["a", "b", "d"]);
  warm.want(["d"], "auto");
  assert.equal(asked.length, 3);
  warm.want(["d"], "auto", true); // after a comparison, which may have kept the app from it
  assert.equal(asked.length, 4);
});
