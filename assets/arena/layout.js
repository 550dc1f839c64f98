/* Where the beam tree's nodes stand: one column a step, appended and never moved again, so that a growing tree is calm.
 Children stand in the order of their parents, so no two edges cross. Plain numbers: knows no SVG. */
import { visible } from "./dom.js";

const GAP = 21;
const CHAR = 6.7;
const EDGE = 42;
const LONGEST = 16;
const SCORE = 50; // what stands beside a finished branch

/* Weighted isotonic regression (pool adjacent violators): the nearest non-decreasing sequence to `values`. */
function isotonic(values, weights) {
  const pools = [];
  values.forEach((value, index) => {
    let pool = { mean: value, weight: weights[index], size: 1 };
    while (pools.length && pools[pools.length - 1].mean > pool.mean) {
      const last = pools.pop();
      const weight = last.weight + pool.weight;
      pool = {
        mean: (last.mean * last.weight + pool.mean * pool.weight) / weight,
        weight,
        size: last.size + pool.size,
      };
    }
    pools.push(pool);
  });
  return pools.flatMap((pool) => Array(pool.size).fill(pool.mean));
}

export class Layout {
  constructor(name, beams, penalty, rootLabel) {
    this.name = name;
    this.penalty = penalty;
    this.rows = 2 * beams + 1;
    this.height = (this.rows - 1) * GAP;
    this.root = {
      step: 0,
      kind: "live",
      label: rootLabel,
      token: -1,
      p: 1,
      score: 0,
      parent: null,
      x: 0,
      y: this.height / 2,
      rank: 0,
    };
    this.columns = [this.column([this.root], 0)];
  }

  /* Adds the columns for steps that have come since. */
  grow(events) {
    for (let step = this.columns.length - 1; step < events.length; step += 1) this.add(events[step], step + 1);
  }

  add(event, step) {
    const parents = this.columns[step - 1].live;
    const node = (kind) => (edge, rank) => ({
      kind,
      step,
      rank,
      parent: parents[edge[0]],
      token: edge[1],
      p: Math.exp(edge[2]),
      score: edge[3],
      final: kind === "done" ? edge[4] : edge[3] / step ** this.penalty,
      label: (kind === "done" ? "■ " : "") + shorten(label(this.name(edge[1]))),
    });
    const live = event.live.map(node("live"));
    const done = event.done.map(node("done"));
    const room = Math.max(0, this.rows - live.length - done.length);
    const cut = event.cut
      .slice()
      .sort((a, b) => b[3] - a[3])
      .slice(0, room)
      .map(node("cut"));
    const nodes = [...live, ...done, ...cut].filter((item) => item.parent);
    nodes.sort((a, b) => a.parent.y - b.parent.y || a.parent.rank - b.parent.rank || b.score - a.score);
    this.place(nodes);
    const before = this.columns[step - 1];
    const column = this.column(nodes, before.x + before.width + EDGE);
    column.live = live;
    this.columns.push(column);
  }

  place(nodes) {
    const weights = nodes.map((node) => (node.kind === "cut" ? 1 : 5));
    const wanted = nodes.map((node, index) => node.parent.y - index * GAP);
    const highest = Math.max(0, this.height - (nodes.length - 1) * GAP);
    isotonic(wanted, weights).forEach((value, index) => {
      nodes[index].y = Math.min(highest, Math.max(0, value)) + index * GAP;
    });
  }

  column(nodes, x) {
    const wide = (node) => labelWidth(node.label) + (node.kind === "done" ? SCORE : 0);
    const width = Math.max(...nodes.map(wide), 14);
    for (const node of nodes) Object.assign(node, { x, end: x + labelWidth(node.label) });
    return { nodes, live: nodes, x, width };
  }

  /* Marks what survives after n steps: node.state is kept, cut, dead (kept once, no descendant left) or done. */
  mark(n, best) {
    const steps = Math.min(n, this.columns.length - 1);
    for (let step = 0; step <= steps; step += 1) {
      for (const node of this.columns[step].nodes) {
        node.best = false;
        node.state = node.kind === "live" ? "dead" : node.kind;
      }
    }
    const revive = (node) => {
      for (let at = node; at && at.state === "dead"; at = at.parent) at.state = "kept";
    };
    for (let step = 0; step <= steps; step += 1) {
      for (const node of this.columns[step].nodes) if (node.kind === "done") revive(node.parent);
    }
    this.columns[steps].live.forEach(revive);
    for (let at = best; at; at = at.parent) at.best = true;
    return steps;
  }

  /* The node whose path spells `ids`, or null. */
  find(ids) {
    const column = this.columns[ids.length];
    return (
      (column &&
        column.nodes.find((node) => {
          if (node.kind === "cut") return false;
          let at = node;
          for (let index = ids.length - 1; index >= 0; index -= 1, at = at.parent)
            if (!at || at.token !== ids[index]) return false;
          return true;
        })) ||
      null
    );
  }
}

/* The space before a word says little in a tree; a token that is nothing but spaces must still be seen. */
function label(text) {
  return visible(text.replace(/^ (?=\S)/, ""));
}

function shorten(text) {
  return Array.from(text).length > LONGEST
    ? Array.from(text)
        .slice(0, LONGEST - 1)
        .join("") + "…"
    : text;
}

/* About how wide a label is; wide scripts count double. */
function labelWidth(text) {
  let width = 0;
  for (const char of text) width += char.codePointAt(0) > 0x2e7f ? 2 * CHAR : CHAR;
  return width + 10;
}

export const path = (node) => {
  const ids = [];
  for (let at = node; at.parent; at = at.parent) ids.unshift(at.token);
  return ids;
};
