/* The beam tree: SVG that grows with the search. Drag or arrow keys pan, buttons or Ctrl + wheel zoom; only the columns
 in view are in the page. */
import { figure, h, number, percent, shape, svg, t, visible } from "./dom.js";
import { laneTitle } from "./lanes.js";
import { Layout, path } from "./layout.js";

const TALLEST = 430;
const MARGIN = 26;
const SPEED = 60;
const SHOWN_SHARED = 60;
const FAR = 0.45; // below this scale words are too small to read: only the branches are drawn, as high as there is room

/* How many characters two texts have in common at their beginning, up to the end of a word. */
function sharedWords(a, b) {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at === a.length ? at : a.lastIndexOf(" ", at) + 1;
}

/* The end of what was said already, enough to see where a sentence turns off. */
const tail = (text) =>
  text.length > SHOWN_SHARED ? "… " + text.slice(text.indexOf(" ", text.length - SHOWN_SHARED) + 1) : text;

export class Tree {
  /** The beam lane that is drawn, and its trace. @type {any} */
  lane = null;
  /** @type {any} */
  trace = null;

  constructor() {
    this.view = { x: 0, y: 0, scale: 1 };
    this.width = 600;
    this.following = true;
    this.groups = new Map();
    this.build();
  }

  build() {
    this.scene = svg("g", {});
    this.canvas = svg(
      "svg",
      { class: "canvas", role: "img", tabindex: "0", "aria-label": t("tree_label") },
      this.scene,
    );
    this.title = h("span", {});
    this.hint = h("p", { class: "path", "aria-live": "polite" });
    this.ranking = h("ol", { class: "ranking" });
    this.choice = h("select", { "aria-label": t("tree_of"), hidden: true, onchange: () => this.again() });
    const button = (text, label, act) =>
      h("button", { type: "button", class: "small", "aria-label": label, title: label, onclick: act }, text);
    this.element = h(
      "section",
      { class: "tree", hidden: true, "aria-label": t("tree_title") },
      h(
        "div",
        { class: "treehead" },
        h("h3", {}, shape("beam"), t("tree_title")),
        this.choice,
        h(
          "div",
          { class: "zoom" },
          button("−", t("zoom_out"), () => this.zoom(1 / 1.25)),
          button("+", t("zoom_in"), () => this.zoom(1.25)),
          button("⤢", t("zoom_fit"), () => this.fit()),
          button("⇥", t("zoom_follow"), () => this.follow()),
        ),
      ),
      h("div", { class: "cap" }, this.title, (this.formula = h("span", { class: "formula" }))),
      this.canvas,
      this.hint,
      this.ranking,
    );
    this.listen();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.drag = { x: event.clientX, y: event.clientY, id: event.pointerId, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => this.dragTo(event));
    for (const kind of ["pointerup", "pointercancel"])
      canvas.addEventListener(kind, () => {
        this.drag = null;
        canvas.classList.remove("dragging");
      });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerover", (event) => this.point(event.target.closest("[data-node]")));
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("click", (event) => {
      if (event.detail) this.pick(event.target.closest("[data-node]"));
    });
    new ResizeObserver(([entry]) => {
      // remembered: asking the page at every frame would lay it out at every frame
      this.width = entry.contentRect.width || 600;
      if (this.following && this.layout) this.showEnd();
      this.redraw();
    }).observe(canvas);
  }

  /* Draws one of the beam lanes `lanes` as it was after n steps: the first, or the one that was chosen. */
  draw(lanes, trace, n) {
    this.again = () => this.draw(lanes, trace, n);
    this.element.hidden = !lanes.length;
    if (!lanes.length) return;
    this.offer(lanes, trace);
    const lane = lanes.find((item) => item.info.id === this.choice.value) || lanes[0];
    if (lane !== this.lane || (this.layout && this.layout.columns.length - 1 > lane.beams.length))
      this.restart(lane, trace);
    this.layout.grow(lane.beams);
    const best = lane.bestAt(Math.min(n, lane.length));
    this.steps = this.layout.mark(n, this.layout.find(best.map((pair) => pair[0])));
    this.caption();
    this.rank();
    if (this.following) this.showEnd();
    this.redraw();
  }

  offer(lanes, trace) {
    const two = trace.meta.models.length > 1;
    const key = lanes.map((lane) => lane.info.id).join();
    this.choice.hidden = lanes.length < 2;
    if (this.offered === key) return;
    this.offered = key;
    const before = this.choice.value;
    this.choice.replaceChildren(
      ...lanes.map(({ info }) =>
        h("option", { value: info.id }, laneTitle(info) + (two ? " · " + trace.meta.models[info.model].title : "")),
      ),
    );
    this.choice.value = lanes.some((lane) => lane.info.id === before) ? before : lanes[0].info.id;
  }

  restart(lane, trace) {
    Object.assign(this, { lane, trace, following: true, picked: null });
    for (const group of this.groups.values()) group.remove();
    this.groups.clear();
    const { info } = lane;
    const begins = lane.prefix.length
      ? "… " + visible(trace.name(info.model, lane.prefix[lane.prefix.length - 1].i))
      : t("tree_root");
    this.layout = new Layout((id) => trace.name(info.model, id), info.num_beams, info.length_penalty, "▶ " + begins);
    this.tall = Math.min(TALLEST, this.layout.height + 2 * MARGIN);
    this.canvas.style.height = this.tall + "px";
    const scale = Math.min(1, this.tall / (this.layout.height + 2 * MARGIN));
    this.view = { x: -10, y: -MARGIN, scale: Math.max(0.62, scale) };
  }

  caption() {
    const { info } = this.lane;
    const key = info.strategy === "beam" ? "tree_score" : "tree_score_" + info.strategy;
    this.formula.textContent = t(key);
    this.title.textContent = t("tree_caption", {
      b: number(info.num_beams),
      n: number(this.steps),
      all: number(this.trace.meta.settings.max_new_tokens),
    });
  }

  rank() {
    const { end } = this.lane;
    const key = end && this.steps >= this.lane.length ? end : null;
    if (this.ranked === key) return;
    this.ranked = key;
    const rows = key ? key.sequences || [] : [];
    this.ranking.replaceChildren(
      ...rows.map(([score, reason, , text], at) => {
        const shared = at ? sharedWords(text, rows[0][3]) : 0; // said already: shown paler
        return h(
          "li",
          {},
          h("b", {}, figure(score, 3)),
          " ",
          h("span", { class: "same" }, tail(text.slice(0, shared))),
          h("span", {}, text.slice(shared)),
          " ",
          h("small", {}, t("ended_by_" + reason)),
        );
      }),
    );
  }

  textOf(ids) {
    const { model } = this.lane.info;
    return ids.map((id) => (this.trace.special(model, id) ? "" : this.trace.name(model, id))).join("");
  }

  // ---- the view ----

  showEnd() {
    const last = this.layout.columns[this.steps];
    const end = last.x + last.width + 90;
    this.view.x = Math.max(-10, end - this.width / this.view.scale);
  }

  follow() {
    this.following = true;
    this.showEnd();
    this.redraw();
  }

  fit() {
    const last = this.layout.columns[this.steps];
    this.view.scale = Math.min(1.6, Math.max(0.12, this.width / (last.x + last.width + 110)));
    Object.assign(this.view, { x: -10, y: -MARGIN });
    this.following = false;
    this.redraw();
  }

  zoom(factor, at) {
    if (!this.layout) return;
    const { view } = this;
    const point = at || { x: this.width / 2, y: this.tall / 2 };
    const scale = Math.min(3, Math.max(0.12, view.scale * factor));
    view.x += point.x / view.scale - point.x / scale;
    view.y += point.y / view.scale - point.y / scale;
    view.scale = scale;
    this.following = false;
    this.redraw();
  }

  get isFar() {
    return this.view.scale < FAR;
  }

  pan(dx, dy) {
    this.view.x += dx / this.view.scale;
    this.view.y += dy / this.view.scale;
    const last = this.layout.columns[this.steps];
    const wide = this.width / this.view.scale;
    this.view.x = Math.max(-wide / 2, Math.min(this.view.x, last.x + last.width - wide / 4));
    this.view.y = Math.max(-this.tall / this.view.scale + 40, Math.min(this.view.y, this.layout.height - 40));
    this.following = false;
    this.redraw();
  }

  wheel(event) {
    if (!this.layout) return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 300), { x: event.clientX - box.left, y: event.clientY - box.top });
    } else if (event.deltaX || event.shiftKey) {
      // plain wheel scrolls the page
      event.preventDefault();
      this.pan(event.deltaX || event.deltaY, 0);
    }
  }

  dragTo(event) {
    const { drag } = this;
    if (!drag || drag.id !== event.pointerId) return;
    const dx = drag.x - event.clientX;
    const dy = drag.y - event.clientY;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved) this.canvas.setPointerCapture(event.pointerId);
    this.canvas.classList.add("dragging");
    Object.assign(drag, { x: event.clientX, y: event.clientY, moved: true });
    this.pan(dx, event.pointerType === "touch" ? 0 : dy);
  }

  key(event) {
    const pans = { ArrowRight: [SPEED, 0], ArrowLeft: [-SPEED, 0], ArrowUp: [0, -SPEED], ArrowDown: [0, SPEED] };
    const acts = {
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      0: () => this.fit(),
      End: () => this.follow(),
    };
    if (!this.layout || event.ctrlKey || event.metaKey || event.altKey) return;
    if (pans[event.key]) this.pan(...pans[event.key]);
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  }

  // ---- drawing ----

  redraw() {
    if (!this.layout || this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    const { view, layout } = this;
    const down = this.isFar ? (this.tall - 2 * MARGIN) / layout.height : view.scale;
    const top = this.isFar ? MARGIN / down : -view.y;
    this.scene.setAttribute("transform", `scale(${view.scale} ${down}) translate(${-view.x} ${top})`);
    this.scene.classList.toggle("far", this.isFar);
    const right = view.x + this.width / view.scale;
    for (const [step, group] of this.groups) {
      const column = layout.columns[step];
      if (step > this.steps || !this.inView(column, view.x, right)) {
        group.remove();
        this.groups.delete(step);
      }
    }
    for (let step = 0; step <= this.steps; step += 1) {
      const column = layout.columns[step];
      if (column.x - 200 > right) break;
      if (this.inView(column, view.x, right)) this.paintColumn(step, column);
    }
  }

  inView(column, left, right) {
    return column.x - 200 < right && column.x + column.width + 120 > left;
  }

  paintColumn(step, column) {
    let group = this.groups.get(step);
    if (!group) {
      group = svg("g", {});
      column.nodes.forEach((node, index) => group.append(this.node(node, step, index)));
      this.groups.set(step, group);
      this.scene.append(group);
    }
    const last = step === this.steps;
    column.nodes.forEach((node, index) => {
      const classes = `node ${node.state}${node.best ? " best" : ""}${node.picked ? " picked" : ""}`;
      const item = group.children[index];
      if (item.getAttribute("class") !== classes) item.setAttribute("class", classes);
      const score = node.kind === "done" || (last && node.kind === "live" && step) ? "  " + figure(node.final, 2) : "";
      const label = item.lastChild;
      if (label.textContent !== score) label.textContent = score;
    });
  }

  node(node, step, index) {
    const item = svg("g", { "data-node": step + ":" + index });
    if (node.parent) {
      const from = node.parent.end + 2;
      const middle = node.x - 21;
      item.append(
        svg("path", {
          d:
            `M${from} ${node.parent.y}H${middle - 14}` +
            `C${middle + 4} ${node.parent.y} ${middle - 4} ${node.y} ${node.x - 4} ${node.y}`,
          "stroke-width": (1.2 + 5.8 * node.p).toFixed(2),
        }),
      );
    }
    // From afar the words are lines.
    item.append(svg("path", { d: `M${node.x - 4} ${node.y}H${node.end + 2}`, class: "under" }));
    const text = svg("text", { x: node.x, y: node.y + 4 });
    text.textContent = node.label;
    const score = svg("text", { x: node.end, y: node.y + 4, class: "score" });
    item.append(
      svg("rect", { x: node.x - 6, y: node.y - 10, width: node.end - node.x + 8, height: 20, class: "hit" }),
      text,
      score,
    );
    return item;
  }

  // ---- one hypothesis ----

  nodeOf(element) {
    if (!element) return null;
    const [step, index] = element.dataset.node.split(":").map(Number);
    return this.layout.columns[step].nodes[index];
  }

  point(element) {
    const node = this.nodeOf(element) || this.picked;
    const marked = new Set();
    for (let at = node; at; at = at.parent) marked.add(at);
    for (let step = 0; step <= (this.steps || 0); step += 1)
      for (const item of this.layout.columns[step].nodes) item.picked = marked.has(item);
    this.hint.textContent = node && node.parent ? this.describe(node) : "";
    this.redraw();
  }

  pick(element) {
    const node = this.nodeOf(element);
    this.picked = node === this.picked ? null : node;
    this.point(element);
  }

  describe(node) {
    return (
      t("tree_node", {
        state: t("state_" + node.state),
        score: figure(node.final, 3),
        p: percent(node.p),
        n: number(node.step),
      }) +
      " " +
      this.textOf(path(node))
    );
  }
}
