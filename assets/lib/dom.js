/* Elements that are made once and drawn by hand. Untrusted text only ever goes through text nodes: `h` never takes markup. */
// ---- elements
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
export const show = (node, ...children) =>
  node.replaceChildren(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));

// Puts `nodes` into `parent` and leaves those alone that are in their place already: focus, scroll and hover stay.
export const arrange = (parent, ...nodes) => {
  const wanted = nodes.flat(3).filter((node) => node instanceof Node);
  wanted.forEach((node, i) => {
    if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] || null);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
};
// A drawing that is made again only when what it shows has changed.
export const keeper = () => {
  const kept = new Map();
  return (name, about, make) => {
    const key = JSON.stringify(about),
      known = kept.get(name);
    if (known && known.key === key) return known.node;
    const node = make();
    kept.set(name, { key, node });
    return node;
  };
};

// Redraws `root` and leaves the focus, and what is being typed, with the successors of the nodes that had them.
const FOCUSABLE = "button, input, select, textarea, summary, a[href], [tabindex]",
  typing = new WeakSet();
document.addEventListener("input", (event) => event.target.type !== "password" && typing.add(event.target), true); // a secret stays where it was typed
document.addEventListener("change", (event) => typing.delete(event.target), true); // taken: what is drawn now counts
const sign = (node) =>
  node.dataset.key ||
  node.id ||
  [
    node.tagName,
    node.type,
    node.getAttribute("aria-label"),
    /^(radio|checkbox)$/.test(node.type) ? node.value : "",
    node.tagName === "BUTTON" ? node.textContent : "",
  ].join(" ");
export const keepFocus = (root, redraw) => {
  const before = [...root.querySelectorAll(FOCUSABLE)],
    focused = before.find((node) => node === document.activeElement);
  const kept = before
    .filter((node) => node === focused || typing.has(node))
    .map((old) => ({
      old,
      typed: typing.has(old),
      mark: sign(old),
      place: before.filter((node) => sign(node) === sign(old)).indexOf(old),
    }));
  redraw();
  if (!kept.length) return;
  const after = [...root.querySelectorAll(FOCUSABLE)];
  for (const { old, typed, mark, place } of kept) {
    // a field that is removed with the focus in it says "change"
    const next = old.isConnected ? old : after.filter((node) => sign(node) === mark)[place];
    if (!next) continue;
    const anew = typed && next !== old;
    if (anew) {
      next.value = old.value;
      typing.add(next);
      // The browser tells of a change since the focus came: what was typed before that is told here.
      next.addEventListener(
        "blur",
        () => typing.has(next) && next.dispatchEvent(new Event("change", { bubbles: true })),
        { once: true },
      );
    }
    if (old !== focused || next === document.activeElement) continue;
    next.focus({ preventScroll: true });
    if (anew && old.selectionStart !== null)
      next.setSelectionRange(old.selectionStart, old.selectionEnd, old.selectionDirection);
  }
};

// ---- messages
export const notice = (message) => {
  if (!message || !message.message) return null;
  return h(
    "div",
    { class: `notice ${message.kind || "error"}`, role: message.kind === "info" ? "status" : "alert" },
    h("p", {}, h("strong", {}, message.message), message.hint ? " " + message.hint : ""),
  );
};

// A "?" that opens two sentences under the thing it explains.
let helps = 0;
export const help = (text, about) => {
  const id = `help-${++helps}`;
  const body = h("span", { class: "help-text", id, hidden: true }, text);
  const button = h(
    "button",
    {
      type: "button",
      class: "help",
      "aria-expanded": "false",
      "aria-controls": id,
      "aria-label": `? ${about || ""}`.trim(),
    },
    "?",
  );
  button.addEventListener("click", () => {
    body.hidden = !body.hidden;
    button.setAttribute("aria-expanded", String(!body.hidden));
  });
  return [button, body];
};

// One choice of a few, as real radio buttons.
let groups = 0;
export const choice = (label, options, value, onchange) => {
  const name = `choice-${++groups}`;
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "unseen" }, label),
    options.map(([key, text]) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }),
        h("span", {}, text),
      ),
    ),
  );
};

export const button = (text, onclick, kind = "", attributes = {}) =>
  h("button", { type: "button", class: `btn ${kind}`, onclick, ...attributes }, text);

// A button that asks once: the first press turns it into the question, the second does it.
export const sure = (text, question, act) => {
  const node = button(
    text,
    () => {
      if (node.dataset.asked) return act();
      node.dataset.asked = "1";
      node.textContent = question;
      node.classList.add("danger");
      const back = () => {
        delete node.dataset.asked;
        node.textContent = text;
        node.classList.remove("danger");
      };
      node.addEventListener("blur", back, { once: true });
      setTimeout(back, 6000);
    },
    "quiet",
  );
  return node;
};
