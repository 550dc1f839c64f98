import assert from "node:assert/strict";
import test from "node:test";
import { forgetful } from "../../assets/arena/kept.js";

const element = () => ({ append() {}, setAttribute() {} });
globalThis.document = /** @type {any} */ ({ createElement: element, querySelector: () => null });
const { Past } = await import("../../assets/arena/past.js");

const traceOf = (seed) =>
  /** @type {any} */ ({
    meta: { models: [{ id: "starter", title: "Starter" }], prompt: { raw: "Say." }, settings: { seed }, seed },
    lanes: new Map(),
  });

test("a fork begun while its original is still being kept in the place of an equal one leads back to it", async () => {
  const past = new Past({ show: () => {}, busy: () => false, shelf: async () => forgetful() });
  past.draw = () => {};
  await past.add(traceOf(7));
  const [{ id }] = past.list;
  past.leave();
  const again = past.add(traceOf(7));
  past.leave(); // the fork begins at once
  await again;
  await past.add(traceOf(8), true);
  assert.equal(past.target.one?.id, id);
  assert.ok(past.target.isParent);
});
