import assert from "node:assert/strict";
import test from "node:test";
import {
  extent,
  namedOnce,
  nearest,
  progressAxis,
  spread,
  ticks,
  ticksFromZero,
  valueAxis,
} from "../../assets/lib/chart/axis.js";

const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

test("of a run of two steps each place is named once, and by its own number", () => {
  const whole = (x) => String(Math.round(x));
  assert.deepEqual(namedOnce(ticks(0, 2, 6), whole), [0, 1, 2]);
  assert.deepEqual(namedOnce([0, 20, 40], whole), [0, 20, 40]);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks(0, 10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0, 2000, 4), [0, 500, 1000, 1500, 2000]);
  for (const [low, high] of [
    [0.81, 1.37],
    [-3, 5],
    [1e-6, 4e-5],
    [2, 2],
  ]) {
    const places = ticks(low, high);
    assert.ok(places.length >= 1 || low === high);
    assert.ok(places.every((v) => v >= low - 1e-9 && v <= high + (high - low) * 0.01 + 1e-9));
  }
});

test("a tick at zero is zero and not a rounding error", () => {
  assert.ok(ticks(-0.3, 0.3, 6).some((v) => Object.is(v, 0)));
});

test("ticks from zero reach what they must", () => {
  for (const most of [0.1, 0.9, 7, 93, 1234]) {
    const places = ticksFromZero(most);
    assert.equal(places[0], 0);
    assert.ok(places[places.length - 1] >= most - 1e-9);
    assert.ok(places[places.length - 2] < most);
  }
});

test("the extent of nothing is empty, of several lists their ends", () => {
  assert.deepEqual(extent([[3, 1], [], [2, 9]]), [1, 9]);
  assert.deepEqual(extent([]), [Infinity, -Infinity]);
});

test("the nearest of an ascending list", () => {
  const xs = [0, 10, 20, 30];
  assert.deepEqual(
    [-5, 0, 4, 6, 14.9, 15.1, 99].map((x) => nearest(xs, x)),
    [0, 0, 0, 1, 1, 2, 3],
  );
  assert.equal(nearest([7], 100), 0);
});

test("the axis of values has room, does not go below 0 for nothing, and covers its limits", () => {
  const [low, high] = valueAxis(0, 10, null);
  assert.equal(low, 0);
  close(high, 10.6);
  assert.deepEqual(valueAxis(0.4, 0.6, [0, 1]), [0, 1]);
  assert.ok(valueAxis(-2, -1, null)[0] < -2);
  const flat = valueAxis(5, 5, null);
  assert.ok(flat[0] < 5 && flat[1] > 5);
});

test("the axis of a stopped run ends where the run is, and its goal is a mark", () => {
  assert.deepEqual(progressAxis(13, 2000), { end: 13, goal: 2000 });
  assert.deepEqual(progressAxis(1900, 2000), { end: 2000, goal: null });
  assert.deepEqual(progressAxis(84, 84), { end: 84, goal: null });
  assert.deepEqual(progressAxis(0, 100), { end: 100, goal: null });
  assert.deepEqual(progressAxis(50, 0), { end: 50, goal: null });
});

test("rows of a table are spread, the ends among them", () => {
  assert.deepEqual(spread(3, 40), [0, 1, 2]);
  const rows = spread(1000, 40);
  assert.equal(rows.length, 40);
  assert.deepEqual([rows[0], rows[39]], [0, 999]);
  assert.equal(new Set(rows).size, 40);
});
