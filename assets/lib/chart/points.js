/* Very many points on a canvas: moved, zoomed, hovered and caught with a lasso. Knows nothing of what a point means.

   Points are written into an image as pixels, some milliseconds for 100,000, so moving stays fluid without WebGL. */
import { Component, h } from "../view.js";

export const SIDE = 65535; // coordinates are whole numbers from 0 to here
const CELLS = 128;
const HIT = 10; // pixels that a pointer may be off

/** @typedef {{x: number, y: number, zoom: number}} View the middle of what is shown, from 0 to 1, and how large */

/** How coordinates become pixels: px = x · k + dx. @param {View} view @param {number} width @param {number} height */
export const projection = (view, width, height) => {
  const side = Math.min(width, height) * 0.94 * view.zoom;
  return { k: side / SIDE, dx: width / 2 - view.x * side, dy: height / 2 - view.y * side };
};

/** Numbers packed by the server. @param {string} text base64 @param {any} Kind a typed array's class */
export const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

/**
 * Writes points as squares into pixels, those with a higher rank over those with a lower one.
 * @param {Uint32Array} pixels width × height @param {number} width @param {number} height
 * @param {Uint16Array} places x, y of each point @param {{k: number, dx: number, dy: number}} how
 * @param {Uint32Array} colours of each point, 0: not drawn
 * @param {Uint8Array} ranks 0 to 2 @param {number[]} sizes by rank
 */
export const splat = (pixels, width, height, places, how, colours, ranks, sizes) => {
  for (let rank = 0; rank < sizes.length; rank++) {
    const size = sizes[rank];
    const half = size >> 1;
    for (let n = 0; n < colours.length; n++) {
      if (ranks[n] !== rank || !colours[n]) continue;
      const left = Math.round(places[2 * n] * how.k + how.dx) - half;
      const top = Math.round(places[2 * n + 1] * how.k + how.dy) - half;
      if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
      for (let y = top; y < top + size; y++)
        for (let at = y * width + left; at < y * width + left + size; at++) pixels[at] = colours[n];
    }
  }
};

/** Points by cells of a grid, so that the nearest one is found without looking at all. @param {Uint16Array} places */
export const gridOf = (places) => {
  const count = places.length / 2;
  const cell = (n) => (places[2 * n + 1] >> 9) * CELLS + (places[2 * n] >> 9); // 2^16 / 2^9 = CELLS
  const starts = new Uint32Array(CELLS * CELLS + 1);
  for (let n = 0; n < count; n++) starts[cell(n) + 1]++;
  for (let n = 0; n < CELLS * CELLS; n++) starts[n + 1] += starts[n];
  const order = new Uint32Array(count);
  const next = starts.slice();
  for (let n = 0; n < count; n++) order[next[cell(n)]++] = n;
  return { starts, order };
};

/** The point nearest to x, y within `reach`, all in coordinates; -1 for none. */
export const nearestPoint = (places, grid, x, y, reach) => {
  const clamp = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor(value / 512)));
  let best = -1;
  let least = reach * reach;
  for (let row = clamp(y - reach); row <= clamp(y + reach); row++)
    for (let column = clamp(x - reach); column <= clamp(x + reach); column++) {
      const cell = row * CELLS + column;
      for (let at = grid.starts[cell]; at < grid.starts[cell + 1]; at++) {
        const n = grid.order[at];
        const gap = (places[2 * n] - x) ** 2 + (places[2 * n + 1] - y) ** 2;
        if (gap < least) [best, least] = [n, gap];
      }
    }
  return best;
};

/** The points inside of a line that is closed (even-odd rule).
   @param {Uint16Array} places @param {number[][]} line [[x, y]] in coordinates @returns {number[]} */
export const inside = (places, line) => {
  const found = [];
  const xs = line.map(([x]) => x);
  const ys = line.map(([, y]) => y);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let n = 0; n < places.length / 2; n++) {
    const [x, y] = [places[2 * n], places[2 * n + 1]];
    if (x < left || x > right || y < top || y > bottom) continue;
    let odd = false;
    for (let i = 0, j = line.length - 1; i < line.length; j = i++) {
      const crosses = ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i];
      if (crosses) odd = !odd;
    }
    if (odd) found.push(n);
  }
  return found;
};

/** A view that is zoomed about a place of the screen, which stays where it is. */
export const zoomed = (view, factor, px, py, width, height) => {
  const before = projection(view, width, height);
  const zoom = Math.max(0.5, Math.min(200, view.zoom * factor));
  const side = Math.min(width, height) * 0.94 * zoom;
  const at = (p, d) => (p - d) / before.k / SIDE; // 0 to 1
  return { zoom, x: at(px, before.dx) - (px - width / 2) / side, y: at(py, before.dy) - (py - height / 2) / side };
};

export const WHOLE = { x: 0.5, y: 0.5, zoom: 1 };

/**
 * props: places, colours, ranks (as splat takes them), label, lasso (whether dragging draws a lasso), onhover(n),
 * onpick(n), onlasso(indices).
 */
class Points extends Component {
  view = WHOLE;
  /** @type {number[][]} */
  line = [];
  /** @type {any} */
  drag = null;
  /** @type {HTMLCanvasElement | null} */
  canvas = null;
  frame = 0;

  componentDidMount() {
    this.watch = new ResizeObserver(() => this.ask());
    if (this.canvas) this.watch.observe(this.canvas);
    this.canvas?.addEventListener("wheel", this.wheel, { passive: false });
    this.ask();
  }
  componentWillUnmount() {
    this.watch?.disconnect();
    cancelAnimationFrame(this.frame);
  }
  componentDidUpdate(before) {
    if (before.places !== this.props.places) {
      this.grid = undefined;
      this.view = WHOLE;
    }
    this.ask();
  }
  ask() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }
  size() {
    const { canvas } = this;
    const dense = Math.min(2, globalThis.devicePixelRatio || 1);
    return canvas
      ? [Math.round(canvas.clientWidth * dense), Math.round(canvas.clientHeight * dense), dense]
      : [0, 0, 1];
  }
  paint() {
    const { canvas } = this;
    const pen = canvas?.getContext("2d");
    const [width, height, dense] = this.size();
    if (!canvas || !pen || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const image = pen.createImageData(width, height);
    const { places, colours, ranks } = this.props;
    const many = places.length > 40_000 ? 1 : places.length > 4000 ? 2 : 4; // two coordinates a point
    const grown = Math.round(Math.min(4, Math.sqrt(this.view.zoom)));
    const sizes = [many, many + 1, many + 3].map((size) => Math.round((size + grown) * dense));
    splat(new Uint32Array(image.data.buffer), width, height, places, this.how(), colours, ranks, sizes);
    pen.putImageData(image, 0, 0);
    if (this.line.length < 2) return;
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 1.5 * dense;
    pen.beginPath();
    this.line.forEach(([x, y], n) => (n ? pen.lineTo(x * dense, y * dense) : pen.moveTo(x * dense, y * dense)));
    pen.stroke();
  }
  how() {
    const [width, height] = this.size();
    return projection(this.view, width, height);
  }
  /** A place of the screen, in pixels of the page, as coordinates. */
  coordinates([x, y]) {
    const [, , dense] = this.size();
    const { k, dx, dy } = this.how();
    return [(x * dense - dx) / k, (y * dense - dy) / k];
  }
  at(event) {
    const canvas = /** @type {HTMLCanvasElement} */ (this.canvas);
    const box = canvas.getBoundingClientRect();
    const zoom = box.width / canvas.offsetWidth || 1; // the large view's
    return [(event.clientX - box.left) / zoom, (event.clientY - box.top) / zoom];
  }
  under(place) {
    const { places } = this.props;
    this.grid = this.grid || gridOf(places);
    const [x, y] = this.coordinates(place);
    return nearestPoint(places, this.grid, x, y, (HIT * this.size()[2]) / this.how().k);
  }
  zoom(factor, place) {
    const [width, height, dense] = this.size();
    const [x, y] = place ? place.map((p) => p * dense) : [width / 2, height / 2];
    this.view = factor ? zoomed(this.view, factor, x, y, width, height) : WHOLE;
    this.ask();
  }
  wheel = (event) => {
    if (document.activeElement !== this.canvas) return; // else the page could not be scrolled past it
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), this.at(event));
  };
  down(event) {
    this.canvas?.setPointerCapture(event.pointerId);
    this.canvas?.focus({ preventScroll: true });
    this.drag = { from: this.at(event), view: this.view, far: false, lasso: this.props.lasso || event.shiftKey };
    this.line = [];
  }
  move(event) {
    const place = this.at(event);
    const { drag } = this;
    if (!drag) return this.props.onhover?.(this.under(place));
    drag.far = drag.far || Math.hypot(place[0] - drag.from[0], place[1] - drag.from[1]) > 4;
    if (!drag.far) return;
    if (drag.lasso) this.line.push(place);
    else {
      const [width, height, dense] = this.size();
      const side = Math.min(width, height) * 0.94 * drag.view.zoom;
      const shift = (n) => ((place[n] - drag.from[n]) * dense) / side;
      this.view = { ...drag.view, x: drag.view.x - shift(0), y: drag.view.y - shift(1) };
    }
    this.ask();
  }
  up(event) {
    const { drag, line } = this;
    this.drag = null;
    this.line = [];
    if (!drag) return;
    if (!drag.far) this.props.onpick?.(this.under(this.at(event)));
    else if (drag.lasso && line.length > 2)
      this.props.onlasso?.(
        inside(
          this.props.places,
          line.map((place) => this.coordinates(/** @type {[number, number]} */ (place))),
        ),
      );
    this.ask();
  }
  key(event) {
    const step = 0.1 / this.view.zoom;
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (way) this.view = { ...this.view, x: this.view.x + way[0], y: this.view.y + way[1] };
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.zoom(0);
    else return;
    event.preventDefault();
    this.ask();
  }
  render({ label }) {
    return h("canvas", {
      class: "points",
      tabIndex: 0,
      role: "img",
      "aria-label": label,
      ref: (node) => (this.canvas = node),
      onpointerdown: (event) => this.down(event),
      onpointermove: (event) => this.move(event),
      onpointerup: (event) => this.up(event),
      onpointercancel: () => (this.drag = null),
      onpointerleave: () => !this.drag && this.props.onhover?.(-1),
      onkeydown: (event) => this.key(event),
    });
  }
}

/** @param {Record<string, any>} props */
export const points = (props) => h(Points, props);
