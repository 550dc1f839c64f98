import assert from "node:assert/strict";
import test from "node:test";
import { tell } from "../../assets/lib/api.js";
import { changed, hearJobs } from "../../assets/lib/live.js";

const turn = () => new Promise((done) => setTimeout(done));

test("one who hears of jobs is told of their kinds, one at a time, and once more for what came meanwhile", async () => {
  const begun = [];
  let finish = () => {};
  hearJobs(["run", "map"], () => {
    begun.push(1);
    return new Promise((done) => (finish = () => done(undefined)));
  });
  for (const kind of ["push", "run", "map", "run"]) tell("job", { kind, job_id: "x" });
  await turn();
  assert.equal(begun.length, 1);
  finish();
  await turn();
  assert.equal(begun.length, 2, "three came, and two looks tell of them all");
  finish();
  await turn();
  tell("job", { kind: "all", job_id: "" });
  await turn();
  assert.equal(begun.length, 3);
  finish();
});

test("a change of these jobs alone is waited for, or one of any", async () => {
  const seen = [];
  changed(["a"]).then(() => seen.push("a"));
  changed(["b"]).then(() => seen.push("b"));
  tell("job", { kind: "run", job_id: "a" });
  await turn();
  assert.deepEqual(seen, ["a"]);
  tell("job", { kind: "all", job_id: "" });
  await turn();
  assert.deepEqual(seen, ["a", "b"]);
});
