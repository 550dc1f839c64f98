/* Elements that are made once and drawn by hand, where a panel changes single nodes many times a second. Untrusted text
   only ever goes through text nodes: `h` never takes markup. */

const NS = "http://www.w3.org/2000/svg";
const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  return node;
};
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(NS, tag), attributes, children);

let groups = 0;

/** One choice of a few, as real radio buttons. @param {[string, string][]} options */
export const choice = (label, options, value, onchange) => {
  const name = `lane-choice-${++groups}`;
  const one = ([key, text]) =>
    h(
      "label",
      {},
      h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }),
      h("span", {}, text),
    );
  return h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, label), options.map(one));
};
