/* What other settings would have kept of the alternatives that a run recorded at one token. Plain numbers: no
   page.  A run records the likeliest tokens with their log-probabilities, not the whole vocabulary. What is
   missing is counted as tokens as likely as the least likely one recorded: an estimate, exact where the
   recorded ones are nearly all there is. */

/**
 * The probabilities of the recorded tokens at another temperature, and how much is left for all the others.
 * @param {number[]} logprobs of the recorded tokens, likeliest first @param {number} temperature 0: only the likeliest
 */
export const heated = (logprobs, temperature) => {
  if (!logprobs.length) return { shares: [], rest: 1 };
  const best = Math.max(...logprobs);
  if (temperature <= 0) {
    const first = logprobs.indexOf(best);
    return { shares: logprobs.map((_, i) => (i === first ? 1 : 0)), rest: 0 };
  }
  const least = Math.min(...logprobs);
  const missing = Math.max(0, 1 - logprobs.reduce((sum, l) => sum + Math.exp(l), 0));
  const weights = logprobs.map((l) => Math.exp((l - best) / temperature));
  const others = (missing / Math.exp(least)) * Math.exp((least - best) / temperature);
  const all = weights.reduce((sum, w) => sum + w, 0) + others;
  return { shares: weights.map((w) => w / all), rest: others / all };
};

/**
 * The probability of each recorded token after temperature and top-p: 0 where it is cut. The token that crosses p
 * stays.
 * @param {number[]} logprobs @param {{temperature: number, top_p: number}} settings
 * @returns {number[]}
 */
export const refiltered = (logprobs, { temperature, top_p: mass }) => {
  const { shares, rest } = heated(logprobs, temperature);
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  const kept = new Set();
  let sum = 0;
  for (const i of order) {
    if (sum >= mass - 1e-12) break;
    kept.add(i);
    sum += shares[i];
  }
  const total = sum < mass - 1e-12 ? Math.min(1, sum + rest) : sum; // p reaches into what was not recorded
  return shares.map((share, i) => (kept.has(i) ? share / total : 0));
};
