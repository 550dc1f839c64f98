/* The lesson's matrix maths: an SVD that is one, and GaLore's step with what it keeps and loses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { energy, example, galore, product, svd, transposed } from "../../assets/learn/svd.js";

const close = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);

test("singular values of a matrix that is known by hand", () => {
  const { s } = svd([
    [3, 0, 0],
    [0, -4, 0],
  ]);
  close(s[0], 4);
  close(s[1], 3);
  const ones = svd([
    [1, 1],
    [1, 1],
  ]).s;
  close(ones[0], 2);
  close(ones[1], 0);
});

test("the left vectors are orthonormal, and the values are those of uᵀ a", () => {
  const a = example();
  const { u, s } = svd(a);
  const gram = product(transposed(u), u);
  gram.forEach((row, i) => row.forEach((value, j) => close(value, Number(i === j))));
  product(transposed(u), a).forEach((row, n) => close(Math.sqrt(energy([row])), s[n]));
  close(
    s.reduce((sum, value) => sum + value * value, 0),
    energy(a),
  );
});

test("what GaLore keeps and loses adds up, and a rank of all rows loses nothing", () => {
  const a = example();
  for (const rank of [1, 2, 5]) {
    const { s, share, kept, lost, low } = galore(a, rank);
    assert.deepEqual([low.length, low[0].length], [rank, a[0].length]);
    close(share, s.slice(0, rank).reduce((sum, value) => sum + value ** 2, 0) / energy(a)); // Eckart and Young
    close(energy(kept) + energy(lost), energy(a));
  }
  close(galore(a, a.length).share, 1);
  assert.ok(galore(a, 2).share > 0.95 && galore(a, 1).share < 0.95);
});
