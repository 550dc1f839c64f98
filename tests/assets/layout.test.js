import assert from "node:assert/strict";
import test from "node:test";
import { Layout, path } from "../../assets/arena/layout.js";

const grown = (steps, beams = 3) => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const layout = new Layout((id) => `w${id}`, beams, 1, "start");
  const events = Array.from({ length: steps }, (_, step) => {
    const edge = () => [
      step ? Math.floor(random() * beams) : 0,
      Math.floor(random() * 50),
      -3 * random(),
      -step - random(),
    ];
    return { live: Array.from({ length: beams }, edge), cut: Array.from({ length: beams }, edge), done: [] };
  });
  layout.grow(events);
  return { layout, events };
};

test("no two edges of a column cross: children stand in the order of their parents", () => {
  const { layout } = grown(30);
  for (const column of layout.columns.slice(1)) {
    const nodes = [...column.nodes].sort((a, b) => a.y - b.y);
    for (let i = 1; i < nodes.length; i += 1) assert.ok(nodes[i].parent.y >= nodes[i - 1].parent.y - 1e-9);
  }
});

test("nodes of a column keep their distance and stay inside", () => {
  const { layout } = grown(30);
  for (const { nodes } of layout.columns) {
    const places = nodes.map((node) => node.y).sort((a, b) => a - b);
    assert.ok(places.every((y) => y >= -1e-9 && y <= layout.height + 1e-9));
    for (let i = 1; i < places.length; i += 1) assert.ok(places[i] - places[i - 1] >= 20.9);
  }
});

test("what stands does not move when the tree grows", () => {
  const { layout, events } = grown(10);
  const before = layout.columns.map((column) => column.nodes.map(({ x, y }) => [x, y]));
  layout.grow([...events, { live: [[0, 1, -1, -11]], cut: [], done: [] }]);
  assert.equal(layout.columns.length, 12);
  assert.deepEqual(
    layout.columns.slice(0, 11).map((column) => column.nodes.map(({ x, y }) => [x, y])),
    before,
  );
});

test("a hypothesis is found by its tokens, and marked with its ancestors", () => {
  const layout = new Layout((id) => `w${id}`, 2, 1, "start");
  layout.grow([
    {
      live: [
        [0, 1, -1, -1],
        [0, 2, -1, -1.5],
      ],
      cut: [],
      done: [],
    },
    { live: [[1, 3, -1, -2]], cut: [[0, 4, -1, -3]], done: [] },
  ]);
  const best = layout.find([2, 3]);
  assert.deepEqual(path(best), [2, 3]);
  assert.equal(layout.find([1, 3]), null);
  layout.mark(2, best);
  const states = layout.columns.map((column) => column.nodes.map((node) => [node.token, node.state, node.best]));
  assert.deepEqual(states[1], [
    [1, "dead", false],
    [2, "kept", true],
  ]);
  assert.deepEqual(Object.fromEntries(states[2].map(([id, state]) => [id, state])), { 3: "kept", 4: "cut" });
});

test("a finished branch and the score beside it end before the next step's tokens begin", () => {
  const layout = new Layout((id) => `w${id}`, 2, 1, "start");
  const live = [0, 1, -1, -1];
  layout.grow([
    { live: [live], cut: [], done: [[0, 2, -1, -1, -1]] },
    { live: [live], cut: [], done: [] },
  ]);
  const [, column, next] = layout.columns;
  const done = column.nodes.find((node) => node.kind === "done");
  const score = 40; // about the width of two blanks and "−12.34" in its 11 pixels
  assert.ok(done.label.startsWith("■") && done.end + score < next.x - 4, `${done.end} ${next.x}`);
});
