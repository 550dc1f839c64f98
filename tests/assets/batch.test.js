import assert from "node:assert/strict";
import test from "node:test";
import { labels } from "../../assets/arena/batch.js";

const BASE = 208; // where the axis lies; its numbers stand 10 to 23 below

test("a name beside a mark on the axis covers no number of the axis, no mark and no other name", () => {
  for (const names of [
    ["Beam search", "Greedy", "Top-p", "Top-k"],
    ["束搜尋", "貪婪", "Top-p", "Top-k"],
  ]) {
    for (const gap of [10, 25, 80]) {
      const points = names.map((text, n) => ({ x: 120 + gap * n, y: BASE, text }));
      const boxes = labels(points).map(({ x, y, "text-anchor": anchor }, n) => {
        const wide = Array.from(names[n]).reduce((sum, letter) => sum + (letter > "\u2e80" ? 13 : 7), 0);
        const left = points[n].x + x - { start: 0, middle: wide / 2, end: wide }[anchor];
        return [left, BASE + y - 10, left + wide, BASE + y + 3];
      });
      boxes.forEach((box, n) => {
        assert.ok(box[3] < BASE + 10, `${names[n]}, ${gap} apart, lies on the axis' numbers`);
        const others = boxes.filter((_, other) => other !== n);
        const apart = (b) => box[2] < b[0] || box[0] > b[2] || box[3] < b[1] || box[1] > b[3];
        assert.ok(others.every(apart), `${names[n]}, ${gap} apart, lies on another name`);
      });
    }
  }
});
