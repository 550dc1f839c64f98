/* The trace: what a comparison has told so far, lane by lane. Adds up events (llmdemo/arena/events.py lists them),
 answers "what did this lane say after n steps", and goes to JSON and back. Knows no page. */

const BEAMS = ["beam", "diverse_beam", "stochastic_beam"];
const FORMAT = "llmdemo-trace";
const VERSION = 1;

/* One lane. `prefix` are the tokens it was forked from, as shown tokens; `answers` (one, or several to choose from) or
   `beams` its steps. */
class Lane {
  constructor(info, prefix) {
    this.info = info;
    this.prefix = prefix || [];
    this.answers = [[]];
    this.picked = null;
    this.opened = false; // the list of its answers
    this.beams = [];
    this.best = [];
    this.changes = [];
    this.final = null;
    this.end = null;
    this.revision = 0;
  }

  get isBeam() {
    return BEAMS.includes(this.info.strategy);
  }
  /* Does it draw several answers and choose one? */
  get several() {
    return this.answers.length > 1 || Boolean(this.end && this.end.sequences && !this.isBeam);
  }
  /* Which of its answers is shown: the one that was picked, else the one that was chosen, else the first. */
  get row() {
    if (this.picked !== null) return this.picked;
    const best = this.several && this.end && this.end.sequences && this.end.sequences[0];
    return best && this.answers[best[5]] ? best[5] : 0;
  }
  pick(row) {
    this.picked = this.answers[row] ? row : null;
    this.revision += 1;
  }
  get tokens() {
    return this.answers[this.row];
  }
  /* Steps so far. */
  get length() {
    return this.isBeam ? this.beams.length : Math.max(...this.answers.map((tokens) => tokens.length));
  }

  add(event) {
    this.revision += 1;
    if (event.type === "token") {
      const row = event.w || 0;
      while (this.answers.length <= row) this.answers.push([]);
      this.answers[row].push(event);
    } else if (event.type === "beam") {
      this.beams.push(event);
      this.changeBest(event.best);
      this.changes.push(event.best);
    } else if (event.type === "best") {
      this.changeBest(event.best);
      this.final = this.best.slice();
    } else if (event.type === "lane") this.end = event;
  }

  changeBest([keep, rest]) {
    this.best = this.best.slice(0, keep).concat(rest);
  }

  /* The beam lane's best text after n steps: [[id, text], …]. */
  bestAt(n) {
    if (n >= this.beams.length) return this.final || this.best;
    let best = [];
    for (const [keep, rest] of this.changes.slice(0, n)) best = best.slice(0, keep).concat(rest);
    return best;
  }

  /* The tokens to show after n steps of this lane, the prefix first: {i, s, l, e, a, …}, all the card needs. */
  view(n) {
    if (!this.isBeam) return this.prefix.concat(this.tokens.slice(0, n));
    const best = this.bestAt(n);
    const path = this.path(best.map((pair) => pair[0]));
    return this.prefix.concat(
      best.map(([i, s], step) => {
        const edge = path && path[step];
        if (!edge) return { i, s, l: null, e: null, a: [] };
        const beam = this.beams[step];
        return {
          i,
          s,
          l: edge[2],
          e: beam.e[edge[0]],
          a: beam.tops[edge[0]] || [],
          score: edge[3],
          beam: true,
          ...masked(beam, edge),
        };
      }),
    );
  }

  /* The edges of the tree that spell these ids, or null. */
  path(ids) {
    if (!ids.length || ids.length > this.beams.length) return null;
    const last = this.beams[ids.length - 1];
    for (const leaf of last.done.concat(last.live)) {
      if (leaf[1] !== ids[ids.length - 1]) continue;
      const edges = Array(ids.length);
      let edge = leaf;
      let step = ids.length - 1;
      for (; edge && edge[1] === ids[step]; step -= 1) {
        edges[step] = edge;
        if (step === 0) return edges;
        edge = this.beams[step - 1].live[edge[0]];
      }
    }
    return null;
  }

  toJSON() {
    return {
      info: this.info,
      prefix: this.prefix,
      tokens: this.answers.flat(),
      beams: this.beams,
      final: this.final,
      end: this.end,
    };
  }

  static fromJSON(data) {
    const lane = new Lane(data.info, data.prefix);
    for (const event of data.tokens.concat(data.beams)) lane.add(event);
    lane.final = data.final;
    lane.end = data.end;
    return lane;
  }
}

export class Trace {
  constructor() {
    this.meta = null;
    this.names = [];
    this.specials = [];
    this.lanes = new Map();
    this.times = [];
    this.clocks = {};
    this.end = null;
    this.grid = null; // columns of a sweep
  }

  /* `fork` says what a run goes on from: {prefix: shown tokens, only: lane id or null, model: index or null}. */
  add(event, fork) {
    if (event.type === "begin") this.begin(event, fork);
    else if (event.type === "names") this.addNames(this.model(event.model, fork), event);
    else if (event.type === "step") this.addTime(this.model(event.model, fork), event);
    else if (event.type === "end") this.end = event;
    else {
      const lane = this.lanes.get(this.laneId(event.lane, fork));
      if (lane) lane.add(event);
    }
  }

  begin(event, fork) {
    const { lanes, type, ...meta } = event;
    const only = fork && fork.only;
    this.end = null;
    this.times = [];
    this.clocks = {};
    if (!fork) {
      this.names = [];
      this.specials = [];
    } // another model's tokens have other names
    if (!only) {
      this.meta = meta;
      this.lanes = new Map();
    }
    const prefix = fork ? spelt(fork.prefix, event.prefix) : [];
    for (const info of lanes) {
      const id = this.laneId(info.id, fork);
      this.lanes.set(id, new Lane({ ...info, id, model: this.model(info.model, fork) }, prefix));
    }
  }

  /* Models take turns, each with a clock of its own that stands still meanwhile: `of` is each model's time,
     `t` the sum. */
  addTime(model, { n, t, rows }) {
    this.clocks[model] = t;
    const of = { ...(this.times[n] || {}).of, [model]: t };
    this.times[n] = { t: Object.values(this.clocks).reduce((sum, each) => sum + each, 0), rows, of };
  }

  /* Seconds until a model's step n was done; until the first model's without one.
     Traces of before keep one time a step. */
  time(n, model) {
    const time = this.times[n];
    if (!time) return null;
    return time.of ? (model === undefined ? Object.values(time.of)[0] : (time.of[model] ?? null)) : time.t;
  }

  model(index, fork) {
    return fork && fork.model !== null && fork.model !== undefined ? fork.model : index;
  }
  laneId(id, fork) {
    return fork && fork.model !== null && fork.model !== undefined ? fork.model + id.slice(id.indexOf(":")) : id;
  }
  addNames(model, event) {
    this.names[model] = Object.assign(this.names[model] || {}, event.names);
    this.specials[model] = (this.specials[model] || []).concat(event.special || []);
  }

  /* A raw continuation has no question, and so no better answer to it. */
  get isRaw() {
    const prompt = this.meta && this.meta.prompt;
    return Boolean(prompt && prompt.raw !== undefined && prompt.raw !== null);
  }

  special(model, id) {
    return (this.specials[model] || []).includes(id);
  }
  name(model, id) {
    const name = (this.names[model] || {})[id];
    return name === undefined ? "[" + id + "]" : name;
  }

  get steps() {
    return Math.max(0, ...Array.from(this.lanes.values(), (lane) => lane.length));
  }
  get seconds() {
    if (this.end) return this.end.seconds;
    return this.times.length ? this.times[this.times.length - 1].t : 0;
  }

  toJSON() {
    return {
      format: FORMAT,
      version: VERSION,
      meta: this.meta,
      names: this.names,
      specials: this.specials,
      times: this.times,
      end: this.end,
      grid: this.grid,
      lanes: Array.from(this.lanes.values(), (lane) => lane.toJSON()),
    };
  }

  /* Throws Error("trace") when `text` is no trace of ours: an imported file may hold anything. */
  static parse(text) {
    let data;
    try {
      data = JSON.parse(text);
    } catch {
      throw new Error("trace");
    }
    if (!valid(data)) throw new Error("trace");
    const trace = new Trace();
    const { meta, names, specials, times, end } = data;
    Object.assign(trace, { meta, names, specials, times, end, grid: Number.isInteger(data.grid) ? data.grid : null });
    for (const lane of data.lanes) trace.lanes.set(lane.info.id, Lane.fromJSON(lane));
    return trace;
  }
}

/* What a form forbade where a beam's token was chosen. */
const masked = (beam, edge) => (beam.g ? { g: beam.g[edge[0]] } : {});

/* Tokens with the text that each completes, as the server knows it: a forked token may be part of a character. */
const spelt = (prefix, pairs) =>
  prefix.map((token, at) => (pairs && pairs[at] && pairs[at][0] === token.i ? { ...token, s: pairs[at][1] } : token));

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isText = (value) => typeof value === "string";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const listOf = (value, check) => Array.isArray(value) && value.every(check);
const isAlternative = (item) => listOf(item, isNumber) && item.length === 3;
const isShown = (token) => isObject(token) && isNumber(token.i) && isText(token.s) && listOf(token.a, isAlternative);
const isRow = (row) => row === undefined || (Number.isInteger(row) && row >= 0 && row < 32);
const isToken = (token) =>
  isShown(token) &&
  [token.l, token.f, token.r, token.k, token.m, token.e].every(isNumber) &&
  isRow(token.w) &&
  (token.g === undefined || isNumber(token.g)) &&
  (token.x === undefined || listOf(token.x, isNumber));
const isSequence = (one) => Array.isArray(one) && isNumber(one[0]) && isText(one[1]) && isText(one[3]);
const isChange = (change) =>
  Array.isArray(change) &&
  isNumber(change[0]) &&
  listOf(change[1], (pair) => Array.isArray(pair) && isNumber(pair[0]) && isText(pair[1]));
const isEdge = (edge) => listOf(edge, isNumber) && edge.length >= 4;

function isBeam(beam, index, beams) {
  if (!isObject(beam) || ![beam.live, beam.cut, beam.done].every((list) => listOf(list, isEdge))) return false;
  const parents = index ? beams[index - 1].live.length : 1;
  const edges = [...beam.live, ...beam.cut, ...beam.done];
  return (
    edges.every((edge) => Number.isInteger(edge[0]) && edge[0] >= 0 && edge[0] < parents) &&
    isChange(beam.best) &&
    listOf(beam.e, isNumber) &&
    (beam.g === undefined || listOf(beam.g, isNumber)) &&
    listOf(beam.tops, (top) => listOf(top, isAlternative))
  );
}

function isLane(lane) {
  return (
    isObject(lane) &&
    isObject(lane.info) &&
    [lane.info.id, lane.info.name, lane.info.strategy].every(isText) &&
    isNumber(lane.info.model) &&
    listOf(lane.prefix, isShown) &&
    listOf(lane.tokens, isToken) &&
    Array.isArray(lane.beams) &&
    lane.beams.every(isBeam) &&
    (lane.final === null || isChange([0, lane.final])) &&
    (lane.end === null ||
      (isObject(lane.end) &&
        isObject(lane.end.metrics) &&
        (lane.end.sequences === undefined || listOf(lane.end.sequences, isSequence))))
  );
}

function valid(data) {
  return (
    isObject(data) &&
    data.format === FORMAT &&
    data.version === VERSION &&
    isObject(data.meta) &&
    isObject(data.meta.settings) &&
    isObject(data.meta.prompt) &&
    listOf(data.meta.models, isObject) &&
    listOf(data.names, (names) => isObject(names) && Object.values(names).every(isText)) &&
    listOf(data.specials, (ids) => listOf(ids, isNumber)) &&
    listOf(data.times, (time) => time === null || (isObject(time) && (time.of === undefined || isObject(time.of)))) &&
    (data.end === null || isObject(data.end)) &&
    listOf(data.lanes, isLane) &&
    data.lanes.length <= 64
  );
}

/* Indexes of the items that are not in the longest common subsequence of two lists. */
export const differences = (a, b) => {
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1) {
      table[i * width + j] =
        a[i] === b[j]
          ? 1 + table[(i + 1) * width + j + 1]
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  const here = new Set(a.keys());
  const there = new Set(b.keys());
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) {
      here.delete(i);
      there.delete(j);
      i += 1;
      j += 1;
    } else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [here, there];
};
