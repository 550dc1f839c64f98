import assert from "node:assert/strict";
import test from "node:test";
import { searchConfig, valuesOf } from "../../assets/evaluate/search.js";

test("a search's values are one setting a line, and what is no number stays for the app to refuse", () => {
  assert.deepEqual(valuesOf("temperature: 0.5, 1\n\ntop_p：0.9，x"), { temperature: [0.5, 1], top_p: [0.9, "x"] });
  assert.deepEqual(valuesOf("temperature"), { temperature: [] });
  assert.deepEqual(searchConfig({ strategy: "", lines: "temperature: 1" }), {});
});
