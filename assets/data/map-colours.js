/* What the colour of a point says on a map of records. Numbers in, colours out; knows no canvas. */

/** A colour as a canvas keeps it in four bytes, little-endian. @param {number} r 0 to 255 */
export const packed = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/** @param {number} hue degrees @param {number} saturation 0 to 1 @param {number} light 0 to 1 */
export const hsl = (hue, saturation, light) => {
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(
      255 * (light - saturation * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))),
    );
  };
  return packed(part(0), part(8), part(4));
};

/** The colour of a cluster: neighbours in number lie far apart in hue. */
export const clusterColour = (n, dark) => hsl((n * 137.508 + 205) % 360, 0.62, (dark ? 0.66 : 0.42) - 0.05 * (n % 3));

/** The same for a style sheet. */
export const css = (colour) => `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;

/** From blue over grey to orange by a share from 0 to 1: told apart by most who see few colours. */
export const scaleColour = (share, dark) => {
  const s = Math.max(0, Math.min(1, share));
  const [low, middle, high] = dark
    ? [[86, 180, 233], [96, 104, 114], [255, 176, 59]]
    : [[0, 90, 160], [200, 204, 210], [190, 85, 0]]; // prettier-ignore
  const [from, to, part] = s < 0.5 ? [low, middle, s * 2] : [middle, high, s * 2 - 1];
  const [r, g, b] = from.map((value, n) => Math.round(value + (to[n] - value) * part));
  return packed(r, g, b);
};

/** The 2nd and the 98th percentile of the known values: one outlier must not paint all others alike. */
export const reach = (values) => {
  const known = Float64Array.from(values).filter(Number.isFinite).sort();
  if (!known.length) return [0, 1];
  return [known[Math.floor(0.02 * (known.length - 1))], known[Math.ceil(0.98 * (known.length - 1))]];
};

/**
 * The colour of each point.
 * @param {string} by cluster, density, held_out, loss, ifd or change @param {any} map its arrays
 * @param {boolean} dark
 */
export const coloursOf = (by, map, dark) => {
  const count = map.cluster.length;
  const colours = new Uint32Array(count);
  const grey = dark ? packed(74, 82, 92) : packed(205, 210, 216);
  if (by === "cluster") {
    const kinds = map.clusters.map(({ id }) => clusterColour(id, dark));
    for (let n = 0; n < count; n++) colours[n] = kinds[map.cluster[n]];
  } else if (by === "held_out") {
    const strong = dark ? packed(255, 176, 59) : packed(190, 85, 0);
    for (let n = 0; n < count; n++) colours[n] = map.held_out[n] ? strong : grey;
  } else {
    const values = map[by];
    let [low, high] = by === "density" ? [0, 255] : reach(values);
    if (by === "change") [low, high] = [-Math.max(-low, high), Math.max(-low, high)]; // no change is the grey middle
    for (let n = 0; n < count; n++)
      colours[n] = Number.isFinite(values[n]) ? scaleColour((values[n] - low) / (high - low || 1), dark) : grey;
  }
  return colours;
};

/** The colours and ranks of what is drawn when some are chosen: those stay, the others go pale and behind.
   @param {Uint32Array} colours @param {Uint8Array | null} chosen 1 for those @param {number} hovered */
export const emphasised = (colours, chosen, hovered, dark) => {
  const ranks = new Uint8Array(colours.length);
  const shown = colours.slice();
  if (chosen) {
    const pale = dark ? packed(48, 54, 62) : packed(226, 229, 233);
    for (let n = 0; n < colours.length; n++) {
      ranks[n] = chosen[n] ? 1 : 0;
      if (!chosen[n]) shown[n] = pale;
    }
  }
  if (hovered >= 0) {
    ranks[hovered] = 2;
    shown[hovered] = dark ? packed(255, 255, 255) : packed(20, 24, 28);
  }
  return { colours: shown, ranks };
};
