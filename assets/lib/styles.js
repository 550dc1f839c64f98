/* Our style sheet counts after Gradio's: both say how a button looks, and Gradio brings its own when it needs them. */

const NAME = "main.css";
/** @param {Node} node */
const isSheet = (node) =>
  node instanceof HTMLStyleElement || (node instanceof HTMLLinkElement && node.rel === "stylesheet");
/** @param {any} node */
const isOurs = (node) => node instanceof HTMLLinkElement && node.href.endsWith(NAME);

/** Puts our sheet last, now and whenever Gradio has added another one. */
export const keepStylesLast = () => {
  const { head } = document;
  const moveLast = () => {
    const sheets = [...head.children].filter(isSheet);
    const ours = sheets.filter(isOurs);
    if (!ours.length || isOurs(sheets[sheets.length - 1])) return;
    const again = /** @type {HTMLLinkElement} */ (ours[0].cloneNode());
    again.onload = () => ours.forEach((link) => link.remove()); // until then the page keeps its looks
    head.append(again);
  };
  new MutationObserver((changes) => {
    if (changes.some((change) => [...change.addedNodes].some((node) => isSheet(node) && !isOurs(node)))) moveLast();
  }).observe(head, { childList: true });
  moveLast();
};
