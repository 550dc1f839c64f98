import assert from "node:assert/strict";
import test from "node:test";
import { hear, newest, tell } from "../../assets/lib/api.js";

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

test("an older question gets the newest one's answer, in whatever order the answers come", async () => {
  const answers = {};
  const look = newest((id) => new Promise((answer) => (answers[id] = answer)));
  const got = [];
  const asked = ["a", "b", "c"].map(async (id) => got.push(`${id}: ${await look(id)}`));
  answers.b("B");
  await Promise.resolve();
  assert.deepEqual(got, []); // nobody is told of B while C is on its way
  answers.c("C");
  answers.a("A");
  await Promise.all(asked);
  assert.deepEqual(got.sort(), ["a: C", "b: C", "c: C"]);
  const again = look("d");
  answers.d("D");
  assert.equal(await again, "D");
});
