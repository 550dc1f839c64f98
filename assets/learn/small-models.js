/* Two of the smallest models that learn, trained in the browser: a bigram language model from nothing, and logistic
   regression on words. Plain numbers and texts: no page. */

/** A repeatable source of numbers in (−1, 1) (Park and Miller). */
const source = (seed = 7) => {
  let state = seed;
  return () => {
    state = (state * 16807) % 2147483647;
    return (2 * state) / 2147483647 - 1;
  };
};
const softmax = (row) => {
  const most = Math.max(...row);
  const weights = row.map((value) => Math.exp(value - most));
  const sum = weights.reduce((all, value) => all + value, 0);
  return weights.map((value) => value / sum);
};

/**
 * A language model whose next character depends on the last alone: a matrix of logits, V × V, trained by gradient
 * descent on the mean cross entropy of all pairs of `text`. Its first loss is ln V but for the noise it begins with.
 */
export class Bigram {
  /** @param {string} text */
  constructor(text) {
    this.characters = [...new Set(text)].sort();
    const place = new Map(this.characters.map((character, n) => [character, n]));
    const ids = [...text].map((character) => place.get(character) ?? 0);
    const size = this.characters.length;
    const draw = source();
    this.logits = Array.from({ length: size }, () => Array.from({ length: size }, () => 0.01 * draw()));
    this.counts = Array.from({ length: size }, () => Array(size).fill(0)); // how often one follows another
    for (let n = 1; n < ids.length; n += 1) this.counts[ids[n - 1]][ids[n]] += 1;
    this.pairs = Math.max(1, ids.length - 1);
  }
  /** Mean −log p of the text's characters after their last one, in nats. */
  loss() {
    let sum = 0;
    this.counts.forEach((row, i) => {
      const p = softmax(this.logits[i]);
      row.forEach((count, j) => count && (sum -= count * Math.log(p[j])));
    });
    return sum / this.pairs;
  }
  /**
   * One step of gradient descent, whose rate no alphabet makes unstable (the Hessian of a row is at most half); the
   * gradient of a row is (p · how often it was left) − counts.
   */
  step(rate = 6) {
    this.counts.forEach((row, i) => {
      const left = row.reduce((all, count) => all + count, 0);
      if (!left) return;
      const p = softmax(this.logits[i]);
      row.forEach((count, j) => (this.logits[i][j] -= (rate * (p[j] * left - count)) / this.pairs));
    });
  }
  /** A text of `length` characters, drawn. */
  write(length, seed = 11) {
    const draw = source(seed);
    let at = 0;
    return Array.from({ length }, () => {
      const p = softmax(this.logits[at]);
      let rest = (draw() + 1) / 2;
      at = p.findIndex((share) => (rest -= share) < 0);
      if (at < 0) at = p.length - 1;
      return this.characters[at];
    }).join("");
  }
}

export const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}$£€!]+/gu) || [];

/**
 * Logistic regression on which words a text has: weights by word, and a bias, by gradient descent on cross entropy
 * with a small penalty on large weights.
 * @param {{label: string, text: string}[]} examples the first label is class 0
 */
export const wordClassifier = (examples, steps = 300, rate = 0.5, penalty = 0.01) => {
  const labels = [...new Set(examples.map(({ label }) => label))];
  const rows = examples.map(({ label, text }) => ({
    y: Number(label === labels[1]),
    words: [...new Set(wordsOf(text))],
  }));
  /** @type {Map<string, number>} */
  const weights = new Map();
  let bias = 0;
  const score = (words) => words.reduce((sum, word) => sum + (weights.get(word) || 0), bias);
  const chance = (words) => 1 / (1 + Math.exp(-score(words)));
  for (let step = 0; step < steps; step += 1) {
    const errors = rows.map(({ y, words }) => chance(words) - y);
    for (const [word, value] of weights) weights.set(word, value * (1 - rate * penalty));
    rows.forEach(({ words }, n) => {
      const change = (rate * errors[n]) / rows.length;
      bias -= change;
      for (const word of words) weights.set(word, (weights.get(word) || 0) - change);
    });
  }
  return {
    labels,
    /** The probability of the second label. @param {string} text */
    chance: (text) => chance([...new Set(wordsOf(text))]),
    /** @param {string} word */
    weight: (word) => weights.get(word.toLowerCase()) || 0,
  };
};
