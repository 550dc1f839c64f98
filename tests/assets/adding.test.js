import assert from "node:assert/strict";
import test from "node:test";
import { Adding, columnFaults } from "../../assets/data/adding.js";

/** An app whose answers are the test's: `answers[name]` are given one after the other. */
const made = (answers, send) => {
  const asked = [];
  const done = [];
  const adding = new Adding({
    draw: () => {},
    done: (id) => done.push(id),
    send,
    wait: async () => {},
    call: async (server, name, request) => {
      asked.push([name, request]);
      return answers[name].shift();
    },
  });
  return { adding, asked, done };
};
const sends =
  (log = []) =>
  (files) => {
    log.push(files.map((file) => file.name));
    return { sent: Promise.resolve({ paths: files.map((file) => `/up/${file.name}`) }), stop() {} };
  };
const named = (name) => ({ name });
const settled = async (adding) => {
  for (let turn = 0; turn < 200 && (adding.now || adding.waiting.length); turn += 1)
    await new Promise((go) => setTimeout(go));
};
const going = (key, news) => ({ key, news, name: `${key}.json`, share: news / 10, what: "" });

test("files that come before the island is there, and while others are read, are added in their order", async () => {
  const log = [];
  const answers = {
    add_files: ["a", "b", "c"].map((key) => going(key, 0)),
    added: ["a", "b", "c"].flatMap((key) => [going(key, 1), { ...going(key, 2), dataset_id: `data-${key}` }]),
  };
  const { adding, done } = made(answers, sends(log));
  adding.files([named("a.json")]);
  adding.files([named("b.json"), named("more.json")]);
  assert.deepEqual(log, []);
  adding.connect({});
  adding.files([named("c.json")]);
  assert.equal(adding.now.name, "a.json");
  assert.deepEqual(
    adding.waiting.map((each) => each.name),
    ["b.json + 1", "c.json"],
  );
  await settled(adding);
  assert.deepEqual(log, [["a.json"], ["b.json", "more.json"], ["c.json"]]);
  assert.deepEqual(done, ["data-a", "data-b", "data-c"]);
});

test("an error is told, stays until the next, and holds up nothing", async () => {
  const failing = (files) => ({
    sent: Promise.resolve(files[0].name === "bad" ? { error: { message: "too large" } } : { paths: ["/up/x"] }),
    stop() {},
  });
  const { adding, done } = made({ add_files: [{ ...going("x", 0), dataset_id: "data-x" }] }, failing);
  adding.connect({});
  adding.files([named("bad")]);
  await settled(adding);
  assert.equal(adding.notice.message, "too large");
  adding.files([named("good")]);
  await settled(adding);
  assert.equal(adding.notice, null);
  assert.deepEqual(done, ["data-x"]);
});

test("a form of columns stays while others are added, and comes back filled in where they do not fit", async () => {
  const ask = { columns: ["q", "a"], guess: {}, task: "chat", roles: {} };
  const answers = {
    add_files: [
      { ...going("odd", 0), ask, error: { message: "which" } },
      { ...going("x", 0), dataset_id: "data-x" },
    ],
    add_mapped: [
      { ...going("again", 0), error: { message: "no" } },
      { ...going("right", 0), dataset_id: "data-odd" },
    ],
  };
  const { adding, asked, done } = made(answers, sends());
  adding.connect({});
  adding.files([named("odd.json")]);
  adding.files([named("x.json")]);
  await settled(adding);
  assert.equal(adding.forms.length, 1);
  adding.mapped(adding.forms[0], { prompt: "a" }, "text");
  await settled(adding);
  const [form] = adding.forms;
  assert.deepEqual(
    [form.key, form.error.message, form.asked.guess, form.asked.task],
    ["odd", "no", { prompt: "a" }, "text"],
  );
  adding.mapped(form, { prompt: "q" }, "chat");
  await settled(adding);
  assert.deepEqual(asked.at(-1), ["add_mapped", { key: "odd", columns: { prompt: "q" }, task: "chat" }]);
  assert.deepEqual([adding.forms, done], [[], ["data-x", "data-odd"]]);
});

test("a lost answer is asked for again, and what cannot be reached for long is told", async () => {
  const lost = { error: { message: "lost" }, lost: true };
  const found = made({ added: [lost, lost, { ...going("a", 3), dataset_id: "data-a" }] }, sends());
  found.adding.connect({});
  found.adding.begun(going("a", 0));
  await settled(found.adding);
  assert.deepEqual(found.done, ["data-a"]);
  const never = made({ added: Array(100).fill(lost) }, sends());
  never.adding.connect({});
  never.adding.begun(going("a", 0));
  await settled(never.adding);
  assert.equal(never.adding.notice.message, "lost");
  assert.equal(never.asked.length, 61);
});

test("Stop ends what is being sent, or what the app reads", async () => {
  let abort = () => {};
  const held = () => ({ sent: new Promise((give) => (abort = () => give({}))), stop: () => abort() });
  const { adding, asked, done } = made({ stop: [{}], added: [{ ...going("a", 2), stopped: true }] }, held);
  adding.connect({});
  adding.files([named("a.json")]);
  adding.stop();
  await settled(adding);
  assert.deepEqual([asked, done, adding.notice], [[], [], null]);
  adding.begun(going("a", 0));
  await new Promise((go) => queueMicrotask(() => queueMicrotask(go)));
  adding.stop();
  await settled(adding);
  assert.deepEqual(asked.map(([name]) => name).sort(), ["added", "stop"]);
  assert.deepEqual(done, []);
});

test("what waits for its turn can be given up, also what the app has begun to read already", async () => {
  const log = [];
  const answers = { add_files: [going("a", 0)], added: [{ ...going("a", 1), dataset_id: "data-a" }], stop: [{}] };
  const { adding, asked, done } = made(answers, sends(log));
  adding.files([named("a.json")]);
  adding.files([named("b.json")]);
  adding.begun(going("hub", 0));
  adding.begun(going("hub", 1)); // its button was pressed twice
  assert.deepEqual(
    adding.waiting.map((each) => each.name),
    ["a.json", "b.json", "hub.json"],
  );
  adding.drop(adding.waiting[1]);
  adding.drop(adding.waiting[1]);
  adding.connect({});
  await settled(adding);
  assert.deepEqual([log, done], [[["a.json"]], ["data-a"]]);
  assert.deepEqual(asked[0], ["stop", { key: "hub" }]);
});

test("a column that is chosen for two roles, or for none, is found before the file is read again", () => {
  const faults = (chosen) => columnFaults(["prompt", "chosen", "rejected"], chosen);
  assert.deepEqual(faults({ prompt: "a", chosen: "b", rejected: "c" }), { missing: [], twice: [] });
  assert.deepEqual(faults({ prompt: "a", chosen: "b", rejected: "b" }), { missing: [], twice: ["chosen", "rejected"] });
  assert.deepEqual(faults({ prompt: "", rejected: "" }), { missing: ["prompt", "chosen", "rejected"], twice: [] });
});
