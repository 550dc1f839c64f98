/* The arithmetic of axes: where a chart begins and ends, and which round places it names. Plain numbers: no page. */

/**
 * Round places for an axis: about `count` steps of 1, 2, 2.5 or 5 times a power of ten.
 * @param {number} low @param {number} high
 */
export const ticks = (low, high, count = 5) => {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) || power * 10;
  const first = Math.ceil(low / step - 1e-9) * step;
  const places = [];
  for (let v = first; v <= high + step * 1e-6; v += step) places.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return places;
};

/**
 * Those of `places` with a text of their own: of several with the same one, that nearest to a whole number.
 * @param {number[]} places @param {(x: number) => string} text
 */
export const namedOnce = (places, text) => {
  const exact = new Map();
  for (const place of places) {
    const name = text(place);
    const known = exact.get(name);
    if (known === undefined || Math.abs(place - Math.round(place)) < Math.abs(known - Math.round(known)))
      exact.set(name, place);
  }
  return places.filter((place) => exact.get(text(place)) === place);
};

/** Round places from 0 to at least `most`. @param {number} most */
export const ticksFromZero = (most, count = 4) => {
  const places = ticks(0, most, count);
  const step = places[1] - places[0];
  return places[places.length - 1] < most - step * 1e-6 ? [...places, places[places.length - 1] + step] : places;
};

/** [least, greatest] of several lists. @param {number[][]} lists @returns {[number, number]} */
export const extent = (lists) => {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const v of list) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  return [low, high];
};

/** The index of what lies nearest to `x` in an ascending list. @param {number[]} xs @param {number} x */
export const nearest = (xs, x) => {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : low;
};

/** The values' axis: some room around them, never below 0 where they are not; at least `limits`. */
export const valueAxis = (low, high, limits) => {
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  const [y0, y1] = [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  return limits ? [Math.min(y0, limits[0]), Math.max(y1, limits[1])] : [y0, y1];
};

const FAR = 1.25;

/**
 * Where the axis of steps ends: at the goal when the run is near it, else where the run is, and the goal is a mark.
 * @param {number} reached @param {number} goal 0 without one
 * @returns {{end: number, goal: number | null}}
 */
export const progressAxis = (reached, goal) =>
  goal > reached * FAR && reached > 0 ? { end: reached, goal } : { end: Math.max(goal, reached), goal: null };

/** At most `most` indexes of a list of `length`, evenly spread, the first and the last among them. */
export const spread = (length, most) => {
  if (length <= most) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: most }, (_, i) => Math.round((i * (length - 1)) / (most - 1)));
};
