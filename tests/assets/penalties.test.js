import assert from "node:assert/strict";
import test from "node:test";
import { biasesOf, linesOf, penalised, textOf } from "../../assets/arena/penalties.js";

test("banned words are one a line, with the spaces that were typed inside them", () => {
  assert.deepEqual(linesOf("yarn\n\n purple wool \n"), ["yarn", " purple wool "]);
  assert.equal(textOf(["yarn", "purple wool"]), "yarn\npurple wool");
});

test("a bias is what stands behind the last colon, and what is no number stays for the app to refuse", () => {
  assert.deepEqual(biasesOf("yarn: -5\nnote: that: 2.5\n42:−3\n"), { yarn: -5, "note: that": 2.5, 42: -3 });
  assert.deepEqual(biasesOf("yarn: much\nwool\npearl:"), { yarn: "much", wool: "", pearl: "" });
  assert.deepEqual(biasesOf(textOf({ "a b": 1.5, "c:d": -100 })), { "a b": 1.5, "c:d": -100 });
});

test("a lane is penalised where one of its penalties is on or words are biased", () => {
  assert.equal(penalised({ strategy: "greedy", temperature: 1 }), false);
  assert.equal(penalised({ strategy: "beam", frequency_penalty: 0.5 }), true);
  assert.equal(penalised({ strategy: "beam", biased: true }), true);
});
