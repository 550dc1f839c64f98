/* Pairs are shown in an order that says nothing of which model answered; tasks follow from what is served. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstOf, tasksOf } from "../../assets/serving/circle.js";

test("either side is first about as often, whatever the parity of the numbers", () => {
  for (const start of [0, 1]) {
    const numbers = Array.from({ length: 1000 }, (_, i) => start + 2 * i);
    const now = numbers.filter((n) => firstOf(n) === "now").length;
    assert.ok(now > 440 && now < 560, String(now));
  }
  assert.equal(firstOf(7), firstOf(7));
});

test("requests of a writer teach answers or preferences, those of a classifier classes", () => {
  assert.deepEqual(tasksOf(true), ["chat", "preference"]);
  assert.deepEqual(tasksOf(false), ["classify"]);
});
