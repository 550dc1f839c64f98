/* A vote's address for phones, and its QR code as a path. Plain texts: no page. */

/**
 * The address of a vote.
 * @param {string} link below the app's own address @param {string} page the address of the app's page
 */
export const addressOf = (link, page) => new URL(link, new URL("./", page)).href;

/** @param {string[]} rows texts of 0 and 1 @returns {string} an SVG path of the dark modules */
export const codePath = (rows) =>
  rows.flatMap((row, y) => [...row].map((bit, x) => (bit === "1" ? `M${x} ${y}h1v1h-1z` : ""))).join("");
