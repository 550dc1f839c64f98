import assert from "node:assert/strict";
import test from "node:test";
import { Kept, forgetful } from "../../assets/arena/kept.js";

const about = (id, at, more = {}) => ({
  id,
  at,
  prompt: id,
  seed: 7,
  models: ["Starter"],
  parent: null,
  same: id,
  ...more,
});
const filled = async (ids, limits) => {
  const kept = new Kept(forgetful(), limits);
  let at = 0;
  for (const id of ids) await kept.add(about(id, (at += 1)), id.repeat(10));
  return kept;
};
const names = (kept) => kept.list.map((one) => one.id).join("");

test("the newest stand first and come back as they were", async () => {
  const kept = await filled("abc");
  assert.equal(names(kept), "cba");
  assert.equal(await kept.text("b"), "bbbbbbbbbb");
  assert.equal(kept.list[0].size, 10);
});

test("the oldest go beyond the number, and beyond the size of all", async () => {
  const few = await filled("abcd", { most: 3 });
  assert.equal(names(few), "dcb");
  assert.equal(await few.text("a"), undefined);
  assert.equal(names(await filled("abcd", { size: 25 })), "dc");
  assert.equal(names(await filled("a", { size: 5 })), "", "one that is too large is not kept");
});

test("the same once more takes the place of the first", async () => {
  const kept = await filled("abc");
  assert.equal(await kept.add(about("d", 9, { same: "a" }), "again"), "a");
  assert.equal(names(kept), "acb");
  assert.equal(await kept.text("a"), "again");
});

test("deleted is deleted, also for who reads the shelf anew", async () => {
  const kept = await filled("abc");
  await kept.remove(["b", "c"]);
  assert.equal(names(kept), "a");
  const other = new Kept(kept.shelf);
  await other.read();
  assert.equal(names(other), "a");
});
