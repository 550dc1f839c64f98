/* What the evaluate form asks for of a standard benchmark. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { limitWords, lookUp, ofBenchmark } from "../../assets/evaluate/benchmark.js";

test("a benchmark is asked of the models that were chosen, with a limit where one was given", () => {
  const benchmark = { key: "a".repeat(24), name: "arc.jsonl", shape: "arc", count: 8 };
  const state = { benchmark, first: "starter", second: "", settings: {} };
  assert.deepEqual(ofBenchmark(state), { benchmark, key: "", model_ids: ["starter"] });
  const both = { ...state, second: "run-1", settings: { limit: 5, eval_share: 0.2 } };
  assert.deepEqual(ofBenchmark(both), { benchmark, key: "", model_ids: ["starter", "run-1"], limit: 5 });
});

test("lm-eval is not said to draw its questions", () => {
  assert.equal(limitWords({ shape: "lm_eval" }), "eval_bench_first");
  assert.equal(limitWords({ shape: "arc" }), "eval_bench_limit");
  assert.equal(limitWords(null), "eval_bench_limit");
});

test("what is read of a source counts only while it is the one that is named", async () => {
  const waiting = {};
  const server = { benchmark: ({ source }) => new Promise((done) => (waiting[source] = done)) };
  const state = { source: "", benchmark: null };
  const look = (source) =>
    lookUp(
      state,
      server,
      () => {},
      () => {},
      source,
    );
  const first = look("slow"),
    second = look("quick");
  waiting.quick({ name: "quick" });
  await second;
  waiting.slow({ name: "slow" });
  await first;
  assert.equal(state.benchmark.name, "quick");
});
