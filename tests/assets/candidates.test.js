import assert from "node:assert/strict";
import test from "node:test";
import { stopsOf, stopText } from "../../assets/arena/penalties.js";
import { Trace } from "../../assets/arena/trace.js";

const token = (w, i, s) => ({ type: "token", lane: "0:b", w, i, s, l: -0.5, f: 1, r: 0, k: 1, m: 1, e: 1, a: [] });
const lanes = [{ id: "0:b", name: "b", strategy: "best_of_n", model: 0 }];
const begin = {
  type: "begin",
  models: [{ id: "starter", title: "S" }],
  prompt: { raw: "x" },
  settings: {},
  seed: 7,
  lanes,
};
const end = {
  type: "lane",
  lane: "0:b",
  finish_reason: "eos",
  metrics: {},
  sequences: [
    [-0.1, "eos", [3], "c", "", 1],
    [-0.5, "length", [1, 2], "ab", "", 0],
  ],
};
const text = (lane, n) =>
  lane
    .view(n)
    .map((each) => each.s)
    .join("");

test("a lane of several answers shows the first while it goes on, then the chosen one, and any that is picked", () => {
  const trace = new Trace();
  for (const event of [begin, token(0, 1, "a"), token(1, 3, "c"), token(0, 2, "b")]) trace.add(event, null);
  const lane = trace.lanes.get("0:b");
  assert.equal(text(lane, 2), "ab");
  assert.equal(lane.length, 2);
  trace.add(end, null);
  assert.equal(text(lane, 2), "c");
  lane.pick(0);
  assert.equal(text(lane, 1), "a");
  lane.pick(9);
  assert.equal(text(lane, 2), "c");
});

test("a trace with several answers comes back from JSON, and one with a row that cannot be is refused", () => {
  const trace = new Trace();
  for (const event of [begin, token(0, 1, "a"), token(1, 3, "c"), end]) trace.add(event, null);
  const again = Trace.parse(JSON.stringify(trace));
  assert.equal(text(again.lanes.get("0:b"), 2), "c");
  const wrong = JSON.parse(JSON.stringify(trace));
  wrong.lanes[0].tokens[1].w = 1e9;
  assert.throws(() => Trace.parse(JSON.stringify(wrong)));
});

test("stop strings are one a line, and a typed \\n is a line end", () => {
  assert.deepEqual(stopsOf("###\n\\n\\n\n  x\n\n"), ["###", "\n\n", "  x"]);
  assert.deepEqual(stopsOf(stopText(["a\tb", "\n"])), ["a\tb", "\n"]);
});
