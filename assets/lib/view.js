/* Drawing in place: a panel says what it shows, and Preact changes what differs, so that focus, what is being typed and
   scroll positions stay where they are. Untrusted text only ever becomes text nodes. Knows no panel. */
import { Component, h as make, render } from "./preact.js";
import { gap } from "./words.js";

export { Component };

/**
 * A piece of page. Siblings that come and go are told apart by their "data-key".
 * @param {string | Function} tag
 * @param {Record<string, any> | null} [attributes]
 * @param {...any} children
 */
export const h = (tag, attributes, ...children) => {
  const key = attributes?.["data-key"];
  return make(/** @type {any} */ (tag), key === undefined ? attributes : { key, ...attributes }, ...children);
};

/** The same for SVG and MathML: Preact knows what is inside of what. */
export const s = h;

/** Shows `children` inside of `el`, in place of what was drawn there before. @param {Element} el */
export const show = (el, ...children) => render(children, /** @type {any} */ (el));

let groups = 0;

/** A name that no other element of the page has. @param {string} what */
export const ownId = (what) => `${what}-${++groups}`;

/** @param {string} text @param {() => void} onclick */
export const button = (text, onclick, kind = "", attributes = {}) =>
  h("button", { type: "button", class: `btn ${kind}`, onclick, ...attributes }, text);

/* Flags of the command line, such as --host, each on one line. @param {string} text */
const flagged = (text) =>
  text.split(/(--[a-z][\w-]*)/).map((part, i) => (i % 2 ? h("span", { class: "flag" }, part) : part));

/** @param {{message?: string, hint?: string, kind?: string} | null | undefined} message */
export const notice = (message) => {
  if (!message || !message.message) return null;
  return h(
    "div",
    { class: `notice ${message.kind || "error"}`, role: message.kind === "info" ? "status" : "alert" },
    h("p", {}, h("strong", {}, message.message), message.hint ? [gap(message.message), flagged(message.hint)] : ""),
  );
};

/** What is entered, with its name. */
export const labelled = (label, ...inside) => h("label", { class: "pick" }, h("span", {}, label), ...inside);

/** A menu. options: [[value, text, whether it can't be chosen]]; `onchange` gets the value. */
export const menu = ({ options, value, onchange, ...attributes }) =>
  h(
    "select",
    { value: value ?? "", onchange: (event) => onchange(event.target.value), ...attributes },
    options.map(([key, text, off]) => h("option", { key, value: key, disabled: Boolean(off) }, text)),
  );

class Choice extends Component {
  id = ownId("choice");
  render({ label, options, value, onchange }) {
    const one = ([key, text]) =>
      h(
        "label",
        { key },
        h("input", { type: "radio", name: this.id, value: key, checked: key === value, onchange: () => onchange(key) }),
        h("span", {}, text),
      );
    return h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, label), options.map(one));
  }
}

/** One choice of a few, as real radio buttons. @param {[string, string][]} options */
export const choice = (label, options, value, onchange) => h(Choice, { label, options, value, onchange });

class Entry extends Component {
  state = { typed: null };
  left = false;
  /* Whoever draws the field again after it was left knows what was taken; until then what was typed stays. */
  componentWillReceiveProps() {
    if (this.left) this.setState({ typed: null });
  }
  render({ value, onchange, tag = "input", ...attributes }, { typed }) {
    const take = (event) => {
      this.left = true;
      onchange(event.target.value);
    };
    const oninput = (event) => {
      this.left = false;
      this.setState({ typed: event.target.value });
    };
    return h(tag, { ...attributes, value: typed ?? value ?? "", oninput, onchange: take });
  }
}

/** A field whose text counts when it is left: what is being typed stays, whatever is drawn meanwhile. */
export const entry = (attributes) => h(Entry, { class: "entry", ...attributes });

class Sure extends Component {
  state = { asked: false };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer = undefined;
  componentWillUnmount() {
    clearTimeout(this.timer);
  }
  render({ text, question, act, attributes }, { asked }) {
    const back = () => this.setState({ asked: false });
    const press = () => {
      if (asked) return act();
      this.setState({ asked: true });
      this.timer = setTimeout(back, 6000);
    };
    const given = { onblur: back, ...attributes };
    if (!asked) return button(text, press, "quiet", given);
    // the question is its name now
    return button(question, press, "quiet danger", { ...given, "aria-label": undefined });
  }
}

/** A button that asks once: the first press turns it into the question, the second does it. */
export const sure = (text, question, act, attributes = {}) => h(Sure, { text, question, act, attributes });

class Help extends Component {
  state = { open: false };
  id = ownId("help");
  close = (event) => {
    if (event.type === "keydown" ? event.key === "Escape" : !this.root?.contains(event.target))
      this.setState({ open: false });
  };
  /** @type {Element | null} */
  root = null;
  componentDidUpdate() {
    const watch = this.state.open ? "addEventListener" : "removeEventListener";
    for (const kind of ["keydown", "pointerdown"]) document[watch](kind, this.close, true);
    if (this.state.open) this.keepInside();
  }
  /* A bubble near the window's right edge would be cut off: it is moved to the left by what is over. */
  keepInside() {
    const bubble = /** @type {HTMLElement | null} */ (this.root?.querySelector(".bubble") ?? null);
    if (!bubble) return;
    bubble.style.translate = "none";
    const over = bubble.getBoundingClientRect().right - document.documentElement.clientWidth + 8;
    if (over > 0) bubble.style.translate = `${-over}px`;
  }
  componentWillUnmount() {
    for (const kind of ["keydown", "pointerdown"]) document.removeEventListener(kind, this.close, true);
  }
  render({ text, about }, { open }) {
    return h(
      "span",
      { class: "help-place", ref: (node) => (this.root = node) },
      h(
        "button",
        {
          type: "button",
          class: "help",
          "aria-expanded": String(open),
          "aria-controls": this.id,
          "aria-label": `? ${about || ""}`.trim(),
          onclick: () => this.setState({ open: !open }),
        },
        "?",
      ),
      h("span", { class: "bubble", id: this.id, role: "status", hidden: !open }, open ? text : ""),
    );
  }
}

/** A "?" that opens two sentences beside the thing it explains. @param {string} text @param {string} [about] */
export const help = (text, about) => h(Help, { text, about });

/** A bar that tells how far something is: `share` from 0 to 1, or null when that is not known. */
export const progressBar = (share, label) =>
  h(
    "div",
    {
      class: "progress",
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": share === null ? undefined : Math.round(share * 100),
    },
    h("i", {
      class: share === null ? "unsure" : "",
      style: `width:${share === null ? 30 : (share * 100).toFixed(1)}%`,
    }),
  );
