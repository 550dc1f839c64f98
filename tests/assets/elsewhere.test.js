import assert from "node:assert/strict";
import test from "node:test";

import { dollars, most } from "../../assets/train/elsewhere.js";

test("a rented machine's price is said in dollars, never as nothing, and as a dash where it is not known", () => {
  assert.equal(most(0.4, 2), "$0.80");
  assert.equal(most(0.01, 0.25), "$0.01");
  assert.equal(dollars(0), "$0.00");
  assert.equal(dollars(12.345), "$12.35");
  assert.equal(most(undefined, 2), "–");
});
