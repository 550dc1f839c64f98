import assert from "node:assert/strict";
import test from "node:test";
import { tell } from "../../assets/lib/api.js";
import { changed, hearJobs, live } from "../../assets/lib/live.js";

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

test("a page's stream begins behind the event at which the page was made, and goes on behind the last that came", async () => {
  const asked = [];
  let hide = () => {};
  const page = {
    visibilityState: "visible",
    addEventListener: (_, act) => (hide = act),
    querySelector: (selector) => selector === "script[data-since]" && { getAttribute: () => "17" },
  };
  const get = async (address, { headers, signal }) => {
    asked.push([new URL(address).pathname.split("/").slice(-2).join("/"), new URL(address).search, headers]);
    if (asked.length > 1)
      return new Promise((_, fail) => signal.addEventListener("abort", () => fail(new Error("left"))));
    return new Response('id: 18\ndata: [{"type": "job", "kind": "run", "job_id": "early", "state": "running"}]\n\n');
  };
  Object.assign(globalThis, { document: page, fetch: get });
  const told = changed(["early"]);
  live();
  await told;
  while (asked.length < 2) await turn();
  assert.deepEqual(asked, [
    ["streams/page", "?since=17", {}],
    ["streams/page", "?since=17", { "last-event-id": "18" }],
  ]);
  page.visibilityState = "hidden";
  hide();
});
