import assert from "node:assert/strict";
import test from "node:test";
import { progressOf } from "../../assets/arena/progress.js";
import { differences, Trace } from "../../assets/arena/trace.js";

const token = (i, s, l = -0.5) => ({
  type: "token",
  lane: "0:greedy",
  i,
  s,
  l,
  f: 1,
  r: 0,
  k: 1,
  m: 0.6,
  e: 1,
  a: [[i, l, 1]],
});
const begin = (more = {}) => ({
  type: "begin",
  models: [{ id: "starter", title: "Starter" }],
  prompt: { raw: "Once" },
  settings: { max_new_tokens: 4 },
  seed: 7,
  lanes: [{ id: "0:greedy", name: "greedy", strategy: "greedy", model: 0 }],
  ...more,
});
const told = (...events) => {
  const trace = new Trace();
  for (const event of events) trace.add(event, null);
  return trace;
};

test("a lane shows what it had said after n steps", () => {
  const trace = told(begin(), token(1, "a"), token(2, "b"), { type: "step", n: 0, t: 0.1, rows: 1 });
  const lane = trace.lanes.get("0:greedy");
  assert.equal(trace.steps, 2);
  assert.deepEqual(
    [0, 1, 2].map((n) =>
      lane
        .view(n)
        .map((each) => each.s)
        .join(""),
    ),
    ["", "a", "ab"],
  );
});

test("two models' clocks are told apart, and the time that a comparison took is their sum", () => {
  const step = (model, n, t) => ({ type: "step", model, n, t, rows: 4 });
  const trace = told(begin(), step(0, 0, 0.3), step(1, 0, 0.1), step(0, 1, 0.5), step(1, 1, 0.2));
  for (const one of [trace, Trace.parse(JSON.stringify(trace))]) {
    assert.deepEqual([one.time(1, 0), one.time(1, 1), one.time(0), one.time(2, 0)], [0.5, 0.2, 0.3, null]);
    assert.deepEqual(
      one.times.map(({ t }) => Math.round(10 * t)),
      [4, 7],
    );
  }
  const earlier = Trace.parse(JSON.stringify({ ...trace.toJSON(), times: [{ t: 0.3, rows: 4 }] }));
  assert.equal(earlier.time(0, 1), 0.3);
});

test("a comparison that waits to begin does not report the steps of the one before", () => {
  const events = [begin(), token(1, "a"), { type: "step", model: 0, n: 0, t: 0.1, rows: 1 }];
  assert.notEqual(progressOf(told(...events)), "");
  assert.equal(progressOf(told(...events, { type: "end", state: "done", seconds: 1 })), "");
});

test("a beam lane's text and the tree's edges that spell it", () => {
  const lanes = [{ id: "0:beam", name: "beam", strategy: "beam", model: 0, num_beams: 2, length_penalty: 1 }];
  const beam = (live, best, more = {}) => ({
    type: "beam",
    lane: "0:beam",
    live,
    cut: [],
    done: [],
    e: [1, 1],
    tops: [[], []],
    best,
    ...more,
  });
  const trace = told(
    begin({ lanes }),
    beam(
      [
        [0, 5, -1, -1],
        [0, 6, -2, -2],
      ],
      [0, [[5, "x"]]],
    ),
    beam(
      [
        [1, 7, -0.1, -2.1],
        [0, 8, -3, -4],
      ],
      [
        0,
        [
          [6, "y"],
          [7, "z"],
        ],
      ],
    ),
  );
  const lane = trace.lanes.get("0:beam");
  assert.deepEqual(
    lane.view(1).map((each) => each.s),
    ["x"],
  );
  assert.deepEqual(
    lane.view(2).map((each) => each.s),
    ["y", "z"],
  );
  assert.deepEqual(
    lane.path([6, 7]).map((edge) => edge[1]),
    [6, 7],
  );
  assert.equal(lane.path([5, 7]), null); // 7 comes of the second beam
});

test("a trace comes back from JSON as it was, and what is none is refused", () => {
  const trace = told(begin(), token(1, "a"), token(2, "b"), { type: "end", state: "done", seconds: 1 });
  const again = Trace.parse(JSON.stringify(trace));
  assert.deepEqual(JSON.parse(JSON.stringify(again)), JSON.parse(JSON.stringify(trace)));
  const broken = JSON.parse(JSON.stringify(trace));
  broken.lanes[0].tokens[0].a = [["<img>", 1, 1]];
  for (const text of ["", "[]", "{}", "null", '{"format":"llmdemo-trace","version":1}', JSON.stringify(broken)])
    assert.throws(() => Trace.parse(text), /trace/);
});

test("differences are what is not in the longest common subsequence", () => {
  const [here, there] = differences(["a", "b", "c", "d"], ["a", "x", "c"]);
  assert.deepEqual([[...here], [...there]], [[1, 3], [1]]);
  assert.deepEqual(
    differences(["a"], ["a"]).map((set) => set.size),
    [0, 0],
  );
});
