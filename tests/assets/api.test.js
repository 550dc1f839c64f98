import assert from "node:assert/strict";
import test from "node:test";
import { hear, tell } from "../../assets/lib/api.js";

test("what is told before a panel's scripts are there waits for the first that listens, once", async () => {
  const got = [];
  tell("train-on", "data-a");
  tell("train-on", "data-b");
  hear("train-on", (id) => got.push(`first ${id}`));
  hear("train-on", (id) => got.push(`second ${id}`));
  await Promise.resolve();
  tell("train-on", "data-c");
  assert.deepEqual(got, ["first data-b", "first data-c", "second data-c"]);
});
