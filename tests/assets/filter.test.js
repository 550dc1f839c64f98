import assert from "node:assert/strict";
import test from "node:test";
import { heated, refiltered } from "../../assets/arena/filter.js";

const close = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);
const logs = (...shares) => shares.map(Math.log);

test("where all tokens are recorded, temperature is exact", () => {
  const { shares, rest } = heated(logs(0.5, 0.3, 0.2), 0.5);
  const squares = [0.25, 0.09, 0.04];
  squares.forEach((square, i) => close(shares[i], square / 0.38));
  close(rest, 0);
});

test("temperature 1 gives back what was recorded, and the rest is what is missing", () => {
  const { shares, rest } = heated(logs(0.5, 0.2), 1);
  close(shares[0], 0.5);
  close(shares[1], 0.2);
  close(rest, 0.3);
});

test("temperature 0 takes the likeliest token", () => {
  assert.deepEqual(refiltered(logs(0.2, 0.5, 0.3), { temperature: 0, top_p: 1 }), [0, 1, 0]);
});

test("the token that crosses p stays, and an exact hit adds none", () => {
  const kept = (top_p) => refiltered(logs(0.5, 0.3, 0.2), { temperature: 1, top_p }).map((share) => share > 0);
  assert.deepEqual(kept(0.6), [true, true, false]);
  assert.deepEqual(kept(0.8), [true, true, false]);
  assert.deepEqual(kept(0.81), [true, true, true]);
  assert.deepEqual(kept(0), [false, false, false]);
  const [first, second] = refiltered(logs(0.5, 0.3, 0.2), { temperature: 1, top_p: 0.8 });
  close(first, 0.625);
  close(second, 0.375);
});

test("a p beyond what was recorded leaves room for the others", () => {
  const shares = refiltered(logs(0.5, 0.2), { temperature: 1, top_p: 0.95 });
  assert.ok(shares[0] + shares[1] < 1);
});

test("warmer is flatter", () => {
  const flat = (temperature) => heated(logs(0.6, 0.3, 0.1), temperature).shares[0];
  assert.ok(flat(0.5) > flat(1) && flat(1) > flat(2));
});
