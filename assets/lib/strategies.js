/* One shape a strategy, everywhere: an SVG path in a box of 12 × 12. Their colours are in arena/arena.css. */

export const SHAPES = {
  greedy: "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1z",
  top_k: "M6 .5 11.8 11H.2z",
  top_p: "M1 1h10v10H1z",
  beam: "M6 0 12 6 6 12 0 6z",
  min_p: "M6 11.5.2 1h11.6z",
  typical_p: "M3 .8h6L12 6 9 11.2H3L0 6z",
  epsilon: "M0 9a6 6 0 0 1 12 0z",
  eta: "M6 .3 12 4.7 9.7 11.6H2.3L0 4.7z",
  top_n_sigma: "M6 0l1.6 4.2L12 4.6 8.6 7.4 9.7 12 6 9.5 2.3 12l1.1-4.6L0 4.6l4.4-.4z",
  xtc: "M2.3 0 6 3.7 9.7 0 12 2.3 8.3 6 12 9.7 9.7 12 6 8.3 2.3 12 0 9.7 3.7 6 0 2.3z",
  mirostat: "M0 0h12L7.2 6 12 12H0l4.8-6z",
  best_of_n: "M0 2.5h12L6 12z M3 0h6v1.5H3z",
  self_consistency: "M0 0h5v5H0z M7 0h5v5H7z M3.5 7h5v5h-5z",
  mbr: "M6 0a6 6 0 1 0 0 12A6 6 0 1 0 6 0z M6 3a3 3 0 1 1 0 6 3 3 0 1 1 0-6z",
  diverse_beam: "M3.5 1 7 6 3.5 11 0 6z M8.5 1 12 6 8.5 11 7.2 9.2 9.4 6 7.2 2.8z",
  stochastic_beam: "M6 0 12 6 6 12 0 6z M6 3.5 3.5 6 6 8.5 8.5 6z",
  speculative: "M0 1 5 6 0 11z M5.5 1l5 5-5 5z M11 1h1v10h-1z",
  contrastive: "M0 6 4 1v3h4V1l4 5-4 5V8H4v3z",
  dola: "M0 1h12v2.4H0z M2 4.8h8v2.4H2z M4 8.6h4V11H4z",
  sample: "M4.2 0h3.6v4.2H12v3.6H7.8V12H4.2V7.8H0V4.2h4.2z",
};
