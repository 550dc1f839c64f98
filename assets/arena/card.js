/* The card of alternatives: what else a lane could have said at one token, kept and cut, before and after the filter.
 Hover shows it, a click or Enter pins it; a click on an alternative forks. */
import { constraintOf } from "./constraints.js";
import { h, inUnits, number, percent, t, visible } from "./dom.js";
import { refiltered } from "./filter.js";
import { inside, questionOf } from "./inside.js";
import { penalised } from "./penalties.js";
import { RARE, rareValues } from "./rare-lanes.js";

const HIDE_AFTER_MS = 220;
const SWITCH_AFTER_MS = 90; // on the way to the card the pointer crosses other tokens
const GAP = 3;

/* The probability after temperature alone, for every alternative, from those that the filter kept: it drew with
   f = softmax(l / T) / mass, so one kept token tells the normaliser. */
function warmed(alternatives, temperature, mass) {
  const kept = alternatives.find((item) => item[2] > 0);
  if (!kept || !temperature || temperature === 1) return null;
  const log = Math.log(kept[2] * mass) - kept[1] / temperature;
  return alternatives.map((item) => Math.exp(item[1] / temperature + log));
}

function cutText(info, token) {
  if (token.beam) return t("cut_beam");
  if (constraintOf(info)) return t("cut_form");
  if (penalised(info)) return t("cut_penalised");
  if (info.strategy === "greedy") return t("cut_greedy");
  if (info.strategy === "top_k") return t("cut_k", { k: number(info.top_k) });
  if (info.strategy === "min_p") return t("cut_min_p", { p: number(info.min_p, 3) });
  if (RARE.includes(info.strategy)) return t("cut_" + info.strategy, rareValues(info));
  return t("cut_p", { p: number(info.top_p, 3) });
}

/* The alternatives as another temperature and top-p would have kept them. */
const retried = (rows, settings) => {
  const after = refiltered(
    rows.map((row) => row[1]),
    settings,
  );
  return rows.map(([id, logprob], i) => [id, logprob, after[i]]).sort((a, b) => b[1] - a[1]);
};

export class Card {
  /** The token that it is about. @type {any} */
  span = null;
  /* hooks {fork(lane, index, token id, onlyThisLane), canFork(), ask(name, question)} */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.element = h("div", { class: "alternatives", role: "dialog", hidden: true });
    this.element.addEventListener("pointerenter", () => clearTimeout(this.timer));
    this.element.addEventListener("pointerleave", () => this.leave());
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("focusout", (event) => {
      if (this.pinned && event.relatedTarget && !this.element.contains(event.relatedTarget)) this.hide();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.element.hidden) this.hide(true);
    });
    document.addEventListener("pointerdown", (event) => {
      if (
        !this.element.hidden &&
        !this.element.contains(event.target) &&
        !(/** @type {Element} */ (event.target).closest(".token"))
      )
        this.hide();
    });
    root.append(this.element);
  }

  /* `how`: "point" waits a moment when another token's card is open, "focus" does not, "pin" takes the focus. */
  show(card, index, span, how) {
    const pinned = how === "pin";
    if (this.pinned && !pinned) return;
    clearTimeout(this.timer);
    if (how === "point" && !this.element.hidden && this.span !== span) {
      this.timer = setTimeout(() => this.show(card, index, span, "focus"), SWITCH_AFTER_MS);
      return;
    }
    if (this.span) this.span.classList.remove("on");
    Object.assign(this, { span, pinned, lane: card.lane });
    span.classList.add("on");
    this.fill(card, index);
    this.element.dataset.strategy = card.lane.info.strategy;
    this.element.hidden = false;
    this.place();
    if (pinned) {
      const first = this.element.querySelector("button");
      if (first) first.focus({ preventScroll: true });
    }
  }

  leave() {
    if (this.pinned) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.hide(), HIDE_AFTER_MS);
  }

  hide(refocus) {
    clearTimeout(this.timer);
    this.element.hidden = true;
    const { span, pinned } = this;
    this.pinned = false;
    if (span) {
      span.classList.remove("on");
      if (refocus && pinned && span.isConnected) span.focus({ preventScroll: true });
    }
  }

  key(event) {
    const buttons = Array.from(this.element.querySelectorAll("button"));
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || at < 0) return;
    event.preventDefault();
    (buttons[at + step] || buttons[at]).focus();
  }

  fill(card, index) {
    const { lane, trace } = card;
    const token = card.shown[index];
    const { info } = lane;
    const name = (id) => trace.name(info.model, id);
    const recorded = token.a.slice();
    if (!recorded.some((row) => row[0] === token.i) && token.l !== null)
      recorded.push([token.i, token.l, token.f === undefined ? 1 : token.f, true]);
    const rows = this.tried && !token.beam ? retried(recorded, this.tried) : recorded;
    const warm = token.beam || this.tried || penalised(info) ? null : warmed(rows, info.temperature, token.m);
    const top = Math.max(0.02, ...rows.map((row) => Math.max(Math.exp(row[1]), token.beam ? 0 : row[2])));
    const first = rows.findIndex((row) => !(row[2] > 0));
    const list = h("ol", {});
    rows.forEach((row, at) => {
      if (at === first && first > 0)
        list.append(
          h("li", { class: "cutline", "aria-hidden": "true" }, this.tried ? t("cut_tried") : cutText(info, token)),
        );
      list.append(h("li", {}, this.row(card, index, row, token, top, warm && warm[at], name)));
    });
    const facts = [];
    if (token.k !== undefined)
      facts.push(t("kept_of", { k: number(token.k), shown: number(rows.filter((row) => row[2] > 0).length) }));
    if (token.r !== undefined) facts.push(t("rank_is", { n: number(token.r + 1) }));
    if (token.e !== null && token.e !== undefined) facts.push(t("entropy_is", { n: number(token.e, 2) }));
    if (token.g !== undefined) facts.push(t("forbidden_here", { share: percent(token.g) }));
    this.element.setAttribute("aria-label", t("card_label", { token: visible(name(token.i)) }));
    this.shown = [card, index];
    const parts = [
      h("h4", {}, t("step_n", { n: number(index + 1) }), " · ", h("code", {}, visible(name(token.i)))),
      h("p", { class: "about" }, facts.join(" · ")),
      rows.length ? list : h("p", { class: "about" }, t("no_alternatives")),
      token.beam || penalised(info) ? null : this.sliders(info),
      this.inside(card, index),
      this.foot(warm),
    ].filter(Boolean);
    this.element.replaceChildren(...parts);
  }

  /* Where the token arises; whoever opens it wants the card to stay. */
  inside(card, index) {
    if (!this.hooks.canFork()) return null; // the model is at work
    const question = questionOf(card.lane, card.trace, card.shown, index);
    const fold = inside(question, this.hooks.ask, () => this.place());
    fold.addEventListener("toggle", () => {
      if (fold.open) this.pinned = true;
      this.element.classList.toggle("wide", fold.open);
      this.place();
    });
    this.element.classList.remove("wide");
    return fold;
  }

  /* Temperature and top-p, tried on what was recorded: the bars follow at once, and nothing is computed anew. */
  sliders(info) {
    const values = this.tried || { temperature: info.temperature ?? 1, top_p: info.top_p ?? 1 };
    const slider = (key, most) => {
      const input = h("input", {
        type: "range",
        min: "0",
        max: String(most),
        step: "0.05",
        value: String(values[key]),
      });
      const shown = h("output", {}, number(values[key], 2));
      input.dataset.tried = key;
      input.addEventListener("input", () => this.retry({ ...values, [key]: Number(input.value) }, key));
      return h("label", {}, t("set_label_" + key), " ", input, " ", shown);
    };
    const reset = h("button", { type: "button", class: "quiet", onclick: () => this.retry(null) }, t("try_reset"));
    const fold = h(
      "details",
      { class: "tried", open: Boolean(this.tried) || this.trying },
      h("summary", {}, t("try_values")),
      slider("temperature", 2),
      slider("top_p", 1),
      h("p", { class: "about" }, t("try_about")),
      this.tried ? reset : null,
    );
    fold.addEventListener("toggle", () => (this.trying = fold.open));
    return fold;
  }

  retry(values, key) {
    this.tried = values;
    this.fill(...this.shown);
    this.element.querySelector(key ? `[data-tried="${key}"]` : ".tried summary")?.focus();
  }

  row(card, index, row, token, top, warm, name) {
    const raw = Math.exp(row[1]);
    const kept = row[2] > 0;
    const chosen = row[0] === token.i;
    const width = (p) => ((100 * p) / top).toFixed(2) + "%";
    const bar = h("i", { style: `--raw:${width(raw)};--kept:${width(token.beam ? (kept ? raw : 0) : row[2])}` });
    if (warm) bar.append(h("b", { style: `left:${width(Math.min(top, warm))}` }));
    const figure = inUnits(token.beam ? percent(raw) : percent(raw) + " → " + percent(row[2]), "%");
    const text = visible(name(row[0]));
    const label =
      t(kept ? "row_kept" : "row_cut", { token: text, raw: percent(raw), after: percent(row[2]) }) +
      (chosen ? " " + t("row_chosen") : "");
    return h(
      "button",
      {
        type: "button",
        class: "bar" + (kept ? "" : " cut") + (chosen ? " chosen" : ""),
        disabled: !this.hooks.canFork() || card.trace.special(card.lane.info.model, row[0]),
        onclick: () => this.fork(card.lane, index, row[0]),
      },
      h("span", { class: "sr" }, label),
      h("code", { "aria-hidden": "true" }, text),
      bar,
      h("span", { "aria-hidden": "true" }, figure),
    );
  }

  foot(warm) {
    const scope = h(
      "label",
      { class: "scope" },
      h("input", {
        type: "checkbox",
        checked: Boolean(this.only),
        onchange: (event) => {
          this.only = event.target.checked;
        },
      }),
      t("only_this_lane"),
    );
    return h(
      "div",
      { class: "legend" },
      h("span", {}, t(warm ? "legend_warm" : "legend")),
      h("span", {}, t("click_forks")),
      scope,
    );
  }

  fork(lane, index, id) {
    this.hide();
    this.hooks.fork(lane, index, id, Boolean(this.only));
  }

  /* Below the token, or above where there is no room; never outside the window. */
  place() {
    const { element } = this;
    const box = this.span.getClientRects()[0] || this.span.getBoundingClientRect();
    const most = this.element.classList.contains("wide") ? 480 : 360;
    const origin = this.root.getBoundingClientRect();
    const zoom = origin.width / this.root.offsetWidth || 1; // the large view's
    const wide = Math.min(most * zoom, window.innerWidth - 20);
    element.style.width = wide / zoom + "px";
    const high = element.offsetHeight * zoom;
    const left = Math.max(10, Math.min(box.left - 16, window.innerWidth - wide - 10));
    const below = box.bottom + GAP + high <= window.innerHeight || box.top - GAP - high < 0;
    element.style.left = (left - origin.left) / zoom + "px";
    element.style.top = ((below ? box.bottom + GAP : box.top - GAP - high) - origin.top) / zoom + "px";
  }
}
