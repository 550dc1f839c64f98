import assert from "node:assert/strict";
import test from "node:test";
import { coloursOf, emphasised, packed, reach, scaleColour } from "../../assets/data/map-colours.js";
import {
  gridOf,
  inside,
  nearestPoint,
  projection,
  SIDE,
  splat,
  unpack,
  WHOLE,
  zoomed,
} from "../../assets/lib/chart/points.js";

const random = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0; // mulberry32
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const places = (count, next = random(7)) => Uint16Array.from({ length: 2 * count }, () => Math.floor(next() * SIDE));

test("a point is a square of pixels around its place, a higher rank over a lower one", () => {
  const pixels = new Uint32Array(100);
  const both = Uint16Array.from([SIDE / 2, SIDE / 2, SIDE / 2, SIDE / 2]);
  splat(pixels, 10, 10, both, projection(WHOLE, 10, 10), Uint32Array.from([7, 9]), Uint8Array.from([1, 0]), [3, 1]);
  assert.equal(pixels[5 * 10 + 5], 7);
  assert.equal(pixels.filter((p) => p === 9).length, 8);
  assert.equal(pixels.filter(Boolean).length, 9);
});

test("a point outside of the canvas is left out and writes into no other line", () => {
  const pixels = new Uint32Array(100);
  const far = { ...WHOLE, x: 3 };
  splat(pixels, 10, 10, places(50), projection(far, 10, 10), new Uint32Array(50).fill(1), new Uint8Array(50), [3]);
  assert.equal(pixels.filter(Boolean).length, 0);
});

test("100,000 points are drawn in a fraction of the time between two frames of a slow screen", () => {
  const many = places(100_000);
  const pixels = new Uint32Array(1000 * 700);
  const begun = performance.now();
  splat(
    pixels,
    1000,
    700,
    many,
    projection(WHOLE, 1000, 700),
    new Uint32Array(100_000).fill(1),
    new Uint8Array(100_000),
    [2],
  );
  assert.ok(pixels.filter(Boolean).length > 50_000);
  assert.ok(performance.now() - begun < 1000, "far more than it takes, so that a busy machine does not fail it");
});

test("the nearest point is that of a look at all of them", () => {
  const some = places(3000);
  const grid = gridOf(some);
  const next = random(3);
  for (let n = 0; n < 50; n++) {
    const [x, y] = [next() * SIDE, next() * SIDE];
    let best = -1;
    let least = 3000 ** 2;
    for (let i = 0; i < 3000; i++) {
      const gap = (some[2 * i] - x) ** 2 + (some[2 * i + 1] - y) ** 2;
      if (gap < least) [best, least] = [i, gap];
    }
    assert.equal(nearestPoint(some, grid, x, y, 3000), best);
  }
  assert.equal(nearestPoint(Uint16Array.from([0, 0]), gridOf(Uint16Array.from([0, 0])), 9000, 9000, 100), -1);
});

test("a lasso takes what is inside of it, also where it is not convex", () => {
  const corners = [[0, 0], [100, 0], [100, 100], [50, 20], [0, 100]]; // prettier-ignore
  assert.deepEqual(inside(Uint16Array.from([50, 10, 50, 60, 10, 50, 90, 50, 200, 50]), corners), [0, 2, 3]);
});

test("zooming leaves the place under the pointer where it is", () => {
  const after = zoomed(WHOLE, 4, 120, 80, 400, 300);
  const at = (view) => {
    const { k, dx, dy } = projection(view, 400, 300);
    return [(120 - dx) / k, (80 - dy) / k];
  };
  at(WHOLE).forEach((value, n) => assert.ok(Math.abs(value - at(after)[n]) < 1));
  assert.equal(after.zoom, 4);
});

test("numbers are unpacked as the server packs them", () => {
  assert.deepEqual([...unpack(btoa("\x01\x00\xff\xff"), Uint16Array)], [1, 65535]);
});

test("one outlier does not paint all others alike, and no change is the middle of its scale", () => {
  const values = Float32Array.from({ length: 100 }, (_, n) => (n === 99 ? 1e6 : n));
  assert.ok(reach(values)[1] <= 99);
  const map = { cluster: new Uint8Array(3), clusters: [{ id: 0 }], change: Float32Array.from([-1, 0, 4]) };
  assert.equal(coloursOf("change", map, false)[1], scaleColour(0.5, false));
  const unknown = { cluster: new Uint8Array(2), clusters: [], loss: Float32Array.from([1, NaN]) };
  assert.equal(coloursOf("loss", unknown, false)[1], packed(205, 210, 216));
});

test("what is not chosen goes pale and behind, what is hovered in front of all", () => {
  const { colours, ranks } = emphasised(Uint32Array.from([5, 6, 7]), Uint8Array.from([0, 1, 0]), 2, false);
  assert.deepEqual([...ranks], [0, 1, 2]);
  assert.equal(colours[1], 6);
  assert.notEqual(colours[0], 5);
});
