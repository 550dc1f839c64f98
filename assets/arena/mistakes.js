/* Four mistakes that many pages print, run on the visitor's own comparison: what each of them loses. Reads a trace;
   computes from the likeliest tokens that were recorded
   at each step, and leaves out steps of which they do not tell enough. */
import { h, number, percent, t } from "./dom.js";
import { heated } from "./filter.js";
import { penalised } from "./penalties.js";

const WRONG = "keep = cumulative < p";
const RIGHT = "keep = cumulative - probs < p";

/* The recorded tokens of a step, likeliest first, with their probabilities at a temperature. */
const ranked = (token, temperature) => {
  const { shares, rest } = heated(
    token.a.map((row) => row[1]),
    temperature,
  );
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  return { ids: order.map((i) => token.a[i][0]), shares: order.map((i) => shares[i]), rest };
};

/** How many of falling probabilities top-p keeps, the crossing one included; null where they do not reach p.
 * @param {number[]} shares @param {number} p */
const nucleus = (shares, p) => {
  let sum = 0;
  for (let i = 0; i < shares.length; i += 1) {
    sum += shares[i];
    if (sum >= p - 1e-9) return i + 1;
  }
  return null;
};

/** What `cumulative < p` loses of what top-p keeps: the token that crosses p, at every step.
 * @param {any[]} tokens of a lane @param {number} p @param {number} temperature */
export function snippetLoss(tokens, p, temperature) {
  const found = { steps: 0, nothing: 0, lost: 0, chosen: 0 };
  for (const token of tokens) {
    const { ids, shares } = ranked(token, temperature);
    const kept = nucleus(shares, p);
    if (kept === null) continue;
    found.steps += 1;
    if (kept === 1) found.nothing += 1;
    found.lost += shares[kept - 1];
    if (ids[kept - 1] === token.i) found.chosen += 1;
  }
  return found.steps ? { ...found, lost: found.lost / found.steps } : null;
}

/** How many tokens top-p keeps where the temperature comes before it, and where it comes after.
 * @param {any[]} tokens @param {number} p @param {number} temperature */
export function orderOf(tokens, p, temperature) {
  const found = { steps: 0, differ: 0, before: 0, after: 0 };
  for (const token of tokens) {
    const before = nucleus(ranked(token, temperature).shares, p);
    const after = nucleus(ranked(token, 1).shares, p);
    if (before === null || after === null) continue;
    found.steps += 1;
    found.before += before;
    found.after += after;
    if (before !== after) found.differ += 1;
  }
  const { steps } = found;
  return steps ? { ...found, before: found.before / steps, after: found.after / steps } : null;
}

/** Which text beams choose without the length's power, of [[score, reason, ids, text], …]: {same, tokens, other,
 * others}. @param {any[]} sequences best first @param {number} power the length penalty that was on */
export function withoutLength(sequences, power) {
  const sums = sequences.map(([score, , ids]) => score * ids.length ** power);
  const best = sums.indexOf(Math.max(...sums));
  const [first, other] = [sequences[0], sequences[best]];
  return { same: best === 0, tokens: first[2].length, other: other[3], others: other[2].length };
}

/** Perplexity by the model, and by the filtered probabilities that a lane drew with. @param {any[]} tokens */
export function perplexities(tokens) {
  const known = tokens.filter((token) => token.f > 0 && token.l !== null);
  if (!known.length) return null;
  const mean = (value) => known.reduce((sum, token) => sum + value(token), 0) / known.length;
  return { model: Math.exp(-mean((token) => token.l)), filtered: Math.exp(-mean((token) => Math.log(token.f))) };
}

const item = (key, text, ...more) =>
  h("div", { class: "mistake" }, h("h4", {}, t("mistake_" + key)), h("p", {}, text), more);

const code = (text, key) => h("p", { class: "code" }, h("code", {}, text), " ", h("span", {}, t("mistake_" + key)));

/* The parts that this comparison can tell of. */
function parts(trace) {
  const lanes = Array.from(trace.lanes.values()).filter((each) => each.info.model === 0);
  const drawn = lanes.filter((each) => !each.isBeam && each.tokens.length && !penalised(each.info));
  const lane = drawn.find((each) => each.info.strategy === "top_p") || drawn[0];
  const found = [];
  if (lane) {
    const { settings } = trace.meta;
    const p = lane.info.top_p < 1 ? lane.info.top_p : settings.top_p || 0.9;
    const temperature = lane.info.temperature || settings.temperature || 1;
    const values = { p: number(p, 3), temperature: number(temperature, 2), lane: t("name_" + lane.info.strategy) };
    const loss = snippetLoss(lane.tokens, p, temperature);
    if (loss) {
      const told = {
        n: number(loss.nothing),
        of: number(loss.steps),
        lost: percent(loss.lost),
        m: number(loss.chosen),
      };
      found.push(
        item("snippet", t("mistake_snippet_found", { ...values, ...told }), code(WRONG, "wrong"), code(RIGHT, "right")),
      );
    }
    const order = orderOf(lane.tokens, p, temperature);
    if (order) {
      const told = {
        n: number(order.differ),
        of: number(order.steps),
        a: number(order.before, 1),
        b: number(order.after, 1),
      };
      found.push(
        item("order", t(temperature === 1 ? "mistake_order_none" : "mistake_order_found", { ...values, ...told })),
      );
    }
  }
  const beam = lanes.find((each) => each.info.strategy === "beam" && each.end?.sequences?.length > 1);
  if (beam) {
    const { same, tokens, other, others } = withoutLength(beam.end.sequences, beam.info.length_penalty);
    const told = { n: number(tokens), m: number(others) };
    found.push(
      item(
        "length",
        t(same ? "mistake_length_same" : "mistake_length_found", told),
        same ? null : h("blockquote", { dir: "auto" }, other),
      ),
    );
  }
  const filtered = drawn.find((each) => ["top_p", "top_k", "min_p"].includes(each.info.strategy));
  const two = filtered && perplexities(filtered.tokens);
  if (two) {
    const told = { lane: t("name_" + filtered.info.strategy), a: number(two.model, 2), b: number(two.filtered, 2) };
    found.push(item("perplexity", t("mistake_perplexity_found", told)));
  }
  return found;
}

/* The fold below the panes; it computes when it is opened. */
export class Mistakes {
  /** What is drawn of which trace. @type {any} */
  drawn = null;
  /** @type {any} */
  trace = null;

  constructor() {
    this.body = h("div", { class: "mistakes" });
    this.element = h("details", { class: "more", hidden: true }, h("summary", {}, t("mistakes")), this.body);
    this.element.addEventListener("toggle", () => this.fill());
  }

  /* `trace`: a comparison that has ended, or null. */
  draw(trace) {
    const ended = trace?.end ? trace : null;
    this.element.hidden = !ended;
    if (ended === this.trace && ended?.end === this.drawn) return;
    this.trace = ended;
    this.drawn = null;
    this.fill();
  }

  fill() {
    if (!this.trace || !this.element.open || this.drawn === this.trace.end) return;
    this.drawn = this.trace.end;
    const found = parts(this.trace);
    this.body.replaceChildren(
      h("p", { class: "about" }, t(found.length ? "mistakes_about" : "mistakes_nothing")),
      ...found,
    );
  }
}
