import assert from "node:assert/strict";
import test from "node:test";
import { modelTitle } from "../../assets/arena/presets.js";
import { useWords } from "../../assets/lib/words.js";

test("the menu says of a run first that it is tuned, where a long name does not cut that off", () => {
  useWords({ arena_kind_tuned: "tuned", arena_kind_starter: "base" });
  const told = (id, more = {}) => modelTitle({ id, title: "T", ready: true, note: "gone", ...more });
  assert.equal(told("run-20261129-164336-f449c2"), "tuned · T");
  assert.equal(told("starter"), "T · base");
  assert.equal(told("starter", { ready: false }), "T · base · gone");
  assert.equal(told("org/other"), "T");
});
