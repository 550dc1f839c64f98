import assert from "node:assert/strict";
import test from "node:test";

const page = (search = "") => {
  globalThis.window = { location: { href: `http://127.0.0.1/${search}`, search } };
  globalThis.document = { querySelector: () => null };
  globalThis.localStorage = { getItem: () => null, setItem: () => {} };
};
page();
const { link, restore } = await import("../../assets/arena/link.js");

const form = () => {
  const taken = {};
  return {
    taken,
    modelIds: ["starter"],
    promptValue: () => ({ messages: [{ role: "user", content: 'Say "hi" & <b>bye</b>?' }] }),
    settings: () => ({ temperature: 1.3, seed: 99 }),
    fresh: { checked: true },
    prompt: { value: "" },
    modes: { mode: "one", set: (value) => (taken.modes = value) },
    setSettings: (value) => (taken.settings = value),
    setPrompt: (value) => (taken.prompt = value),
    chooseModels: (value) => (taken.models = value),
    showUnusual: () => {},
  };
};

test("a link brings back models, prompt and settings, with the seed that was used", () => {
  page();
  const address = link(form());
  page(new URL(address).search);
  const other = form();
  restore(other);
  assert.deepEqual(other.taken.settings, { temperature: 1.3, seed: 99 });
  assert.deepEqual(other.taken.prompt, form().promptValue());
  assert.deepEqual(other.taken.models, ["starter"]);
  assert.equal(other.fresh.checked, false);
});

test("a link with anything else in it changes nothing", () => {
  for (const value of ["{", "7", "null", '{"settings":7,"prompt":"x","models":3}']) {
    page(`?arena=${encodeURIComponent(value)}`);
    const other = form();
    restore(other);
    assert.deepEqual(other.taken, {});
    assert.ok(other.prompt.value);
  }
});

test("a link that would be too long is refused", () => {
  page();
  const long = { ...form(), promptValue: () => ({ raw: "x".repeat(9000) }) };
  assert.throws(() => link(long));
});
