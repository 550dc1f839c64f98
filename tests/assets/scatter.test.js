/* Names beside the points of a chart. */
import assert from "node:assert/strict";
import test from "node:test";
import { apart } from "../../assets/lib/chart/scatter.js";

const px = (x) => x;
const py = (y) => 300 - 300 * y;

test("names of points on one spot stand one below another, right of the last shape", () => {
  const points = [
    { x: 100, y: 0.5, name: "a" },
    { x: 104, y: 0.5, name: "b" },
    { x: 130, y: 0.49, name: "c" },
  ];
  const placed = apart(points, px, py);
  const heights = placed.map(([, at]) => at);
  assert.deepEqual(heights, [150, 163, 176]);
  assert.deepEqual(
    placed.map((one) => one[2]),
    [130, 130, 130],
  );
});

test("a name far from all others stands beside its own shape", () => {
  const [[, at, right]] = apart([{ x: 10, y: 0.5, name: "a" }], px, py);
  assert.deepEqual([at, right], [150, 10]);
  const two = apart(
    [
      { x: 10, y: 0.9, name: "a" },
      { x: 12, y: 0.1, name: "b" },
    ],
    px,
    py,
  );
  assert.deepEqual(
    two.map((one) => one[2]),
    [10, 12],
  );
});
