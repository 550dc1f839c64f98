/* Which words of a text another one does not have in this order: the longest common subsequence. No page. */

const MOST = 400_000; // cells of the table: longer texts are not compared
const WORDS = /\s+|[\u3040-\u30ff\u3400-\u9fff]|[\p{L}\p{N}_]+|[^\s]/gu;
const cut = (text) => text.match(WORDS) || [];

const tableOf = (a, b) => {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  return table;
};

/**
 * `text` in pieces; spaces never differ.
 * @param {string} text @param {string} reference
 * @returns {{text: string, differs: boolean}[]}
 */
export const parts = (text, reference) => {
  const [a, b] = [cut(text), cut(reference)];
  if (a.length * b.length > MOST) return [{ text, differs: false }];
  const table = tableOf(a, b);
  /** @type {{text: string, differs: boolean}[]} */
  const found = [];
  let j = 0;
  a.forEach((word, i) => {
    while (j < b.length && word !== b[j] && table[i][j + 1] >= table[i + 1][j]) j++;
    const same = j < b.length && word === b[j];
    if (same) j++;
    const differs = !same && word.trim() !== "";
    const last = found[found.length - 1];
    if (last && last.differs === differs) last.text += word;
    else found.push({ text: word, differs });
  });
  return found;
};
