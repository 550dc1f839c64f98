/* Where a run overfits: the held-out loss rises from its lowest while the training loss falls. Curves in
   ({step, seconds, value}), spans out; knows nothing of how they are drawn. */
import { nearest } from "../lib/chart/axis.js";

/* By how much of its lowest the held-out loss must have risen: the noise of a small held-out part is less. */
const RISE = 0.01;

/**
 * @typedef {{step: number[], seconds: number[], value: number[]}} Curve
 * @typedef {{step: [number, number], seconds: [number, number], held: [number, number], train: [number, number]}} Span
 *   Where it begins and ends, and both losses there.
 */

/**
 * From each lowest held-out loss so far to where it is highest before the next one, or to the last evaluation; only
 * while the training loss is below what it was at the beginning.
 * @param {Curve | undefined} held @param {Curve | undefined} train the smoothed loss @returns {Span[]}
 */
export const overfitting = (held, train) => {
  if (!held?.value.length || !train?.value.length) return [];
  const trained = held.step.map((step) => train.value[nearest(train.step, step)]);
  const spans = [];
  let from = 0;
  let to = 0; // the last place of the stretch that counts, where it goes on to the end
  let top = 0;
  const close = (end) => {
    if (end > from && held.value[end] > held.value[from] * (1 + RISE)) {
      const ends = (curve) => /** @type {[number, number]} */ ([curve[from], curve[end]]);
      spans.push({
        step: ends(held.step),
        seconds: ends(held.seconds),
        held: ends(held.value),
        train: ends(trained),
      });
    }
  };
  held.value.forEach((value, i) => {
    if (value < held.value[from]) {
      close(top);
      from = to = top = i;
    } else if (trained[i] < trained[from]) {
      if (value > held.value[top]) top = i;
      to = i;
    }
  });
  close(held.value[to] > held.value[from] * (1 + RISE) ? to : top);
  return spans;
};
