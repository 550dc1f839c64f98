import assert from "node:assert/strict";
import test from "node:test";
import { ask, hear, isRepeated, newest, once, tell } from "../../assets/lib/api.js";

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

test("a call that did not reach the app is an error, as Gradio's client answers undefined then", async () => {
  const server = {
    away: async () => undefined,
    broken: async () => Promise.reject(new Error("no")),
    nothing: async () => null,
    list: async () => ({ rows: [] }),
  };
  for (const name of ["away", "broken"]) {
    const { error, lost } = await ask(server, name);
    assert.ok(lost && error.message, name);
  }
  assert.equal(await ask(server, "nothing"), null);
  assert.deepEqual(await ask(server, "list"), { rows: [] });
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

test("who asked first is answered with who asked last, and acts before", async () => {
  const answers = [];
  const choices = newest(() => new Promise((answer) => answers.push(answer)));
  const shown = { data: "" };
  const load = async (id) => {
    await choices();
    shown.data = id;
  };
  const both = [load("older"), load("newer")];
  answers[1]("both are on the menu");
  await both[1];
  assert.equal(shown.data, "newer");
  answers[0]("one is");
  await Promise.all(both);
  assert.equal(shown.data, "newer"); // its answer came last
});

test("a question that fails fails for all who wait for it", async () => {
  const lost = newest(() => Promise.reject(new Error("lost")));
  const both = await Promise.allSettled([lost(), lost()]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ["rejected", "rejected"],
  );
});

test("what is asked twice before it is answered is made once, and can be made again afterwards", async () => {
  const made = [];
  const make = once(async (name) => {
    await null;
    made.push(name);
    return made.length;
  });
  assert.deepEqual(await Promise.all([make("a"), make("a"), make("b")]), [1, null, 2]);
  assert.equal(await make("a"), 3);
});

test("the second press of a double click on what starts, makes or sends something is told from a new one", () => {
  const on = (matches, detail) =>
    isRepeated({ detail, target: { closest: (which) => which.includes(matches) || null } });
  assert.deepEqual([on(".btn.strong", 2), on("[type=submit]", 3), on(".btn.strong", 1)], [true, true, false]);
  assert.deepEqual([on(".pager", 2), isRepeated({ detail: 2, target: null })], [false, false]);
});
