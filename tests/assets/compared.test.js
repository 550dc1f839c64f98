import assert from "node:assert/strict";
import test from "node:test";
import { shownValue } from "../../assets/train/compared.js";

test("a setting that a run has not is a dash, a list stands as JSON, a long text is cut", () => {
  assert.equal(shownValue(null), "–");
  assert.equal(shownValue(false), "false");
  assert.equal(shownValue(0), "0");
  assert.equal(shownValue(["q_proj", "v_proj"]), '["q_proj","v_proj"]');
  assert.equal(shownValue("a".repeat(100)), `${"a".repeat(59)}…`);
});
