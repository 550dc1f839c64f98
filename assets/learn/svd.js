/* A small matrix's singular values and vectors by one-sided Jacobi rotations, and GaLore's step on it. Plain
   arrays of rows. */

/** @typedef {number[][]} Matrix */

/** @param {Matrix} a @returns {Matrix} */
export const transposed = (a) => a[0].map((_, j) => a.map((row) => row[j]));

/** @param {Matrix} a @param {Matrix} b @returns {Matrix} */
export const product = (a, b) => {
  const columns = transposed(b);
  return a.map((row) => columns.map((column) => row.reduce((sum, value, n) => sum + value * column[n], 0)));
};

/** Sum of squares. @param {Matrix} a */
export const energy = (a) => a.flat().reduce((sum, value) => sum + value * value, 0);

/**
 * a = u · diag(s) · vᵀ for a matrix with no more rows than columns: u m × m, s falling.
 * Rotates pairs of rows until all are orthogonal (Hestenes 1958); what was rotated is u.
 * @param {Matrix} a
 */
export const svd = (a) => {
  const rows = a.map((row) => row.slice());
  const m = rows.length;
  const turned = rows.map((_, i) => rows.map((_row, j) => Number(i === j))); // turned · a = rows
  for (let sweep = 0; sweep < 60; sweep += 1) {
    let off = 0;
    for (let p = 0; p < m - 1; p += 1)
      for (let q = p + 1; q < m; q += 1) {
        const [alpha, beta] = [energy([rows[p]]), energy([rows[q]])];
        const gamma = rows[p].reduce((sum, value, n) => sum + value * rows[q][n], 0);
        if (Math.abs(gamma) <= 1e-14 * Math.sqrt(alpha * beta) || gamma === 0) continue;
        off += 1;
        const zeta = (beta - alpha) / (2 * gamma);
        const tan = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cos = 1 / Math.sqrt(1 + tan * tan);
        const sin = cos * tan;
        for (const each of [rows, turned]) {
          const [one, other] = [each[p], each[q]];
          each[p] = one.map((value, n) => cos * value - sin * other[n]);
          each[q] = one.map((value, n) => sin * value + cos * other[n]);
        }
      }
    if (!off) break;
  }
  const lengths = rows.map((row) => Math.sqrt(energy([row])));
  const order = lengths.map((_, n) => n).sort((i, j) => lengths[j] - lengths[i]);
  return { u: transposed(order.map((n) => turned[n])), s: order.map((n) => lengths[n]) };
};

/**
 * GaLore's way of a gradient G: its basis P (m × r, the first left singular vectors), PᵀG, what Adam's first step
 * makes of it (each value by its own size, so its sign), and that taken back, P · N.
 * @param {Matrix} gradient @param {number} rank
 */
export const galore = (gradient, rank) => {
  const { u, s } = svd(gradient);
  const basis = u.map((row) => row.slice(0, rank));
  const low = product(transposed(basis), gradient);
  const update = low.map((row) => row.map((value) => value / (Math.abs(value) + 1e-8)));
  const kept = product(basis, low);
  const lost = gradient.map((row, i) => row.map((value, j) => value - kept[i][j]));
  return { s, basis, low, update, back: product(basis, update), kept, lost, share: energy(low) / energy(gradient) };
};

/** A gradient of two strong directions and noise, always the same one. @param {number} m @param {number} n */
export const example = (m = 8, n = 14) => {
  let seed = 7;
  const draw = () => {
    seed = (seed * 16807) % 2147483647; // Park and Miller
    return (2 * seed) / 2147483647 - 1;
  };
  const many = (count) => Array.from({ length: count }, draw);
  const [a, b, c, d] = [many(m), many(n), many(m), many(n)];
  return a.map((_, i) => b.map((_b, j) => a[i] * b[j] + 0.6 * c[i] * d[j] + 0.12 * draw()));
};
