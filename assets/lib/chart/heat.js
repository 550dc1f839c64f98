/* A heat map: rows of cells, stronger for more, read by pointer or arrow keys. Knows nothing of what a cell means. */
import { Component, h } from "../view.js";

class Heat extends Component {
  state = { at: null };
  /** @type {HTMLCanvasElement | null} */
  canvas = null;

  componentDidMount() {
    requestAnimationFrame(() => this.paint()); // the style sheet may have come by then
  }
  componentDidUpdate() {
    this.paint();
  }

  paint() {
    const { canvas } = this;
    const pen = canvas?.getContext("2d");
    if (!canvas || !pen) return;
    const { values, color, low, high, negative } = this.props;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const style = getComputedStyle(canvas);
    const [plain, below] = [color, negative || color].map((name) => style.getPropertyValue(name).trim() || "#00775a");
    values.forEach((row, y) =>
      row.forEach((value, x) => {
        if (value === null || value === undefined) return;
        const shown = negative ? Math.abs(value) : value;
        pen.fillStyle = negative && value < 0 ? below : plain;
        pen.globalAlpha = 0.14 + (0.86 * (shown - low)) / (high - low || 1);
        pen.fillRect(x, y, 1, 1);
      }),
    );
  }

  step(event) {
    const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!way) return;
    event.preventDefault();
    const { values } = this.props;
    const [y, x] = this.state.at || [0, 0];
    const bound = (place, most) => Math.max(0, Math.min(most - 1, place));
    this.setState({ at: [bound(y + way[0], values.length), bound(x + way[1], values[0].length)] });
  }

  render({ values, label, say, cell = 12, rows, kind }, { at }) {
    const point = (event) => {
      const box = event.target.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * values[0].length);
      const y = Math.floor(((event.clientY - box.top) / box.height) * values.length);
      if (values[y]?.[x] !== undefined) this.setState({ at: [y, x] });
    };
    return h(
      "div",
      {},
      h(
        "div",
        {
          class: `heatwrap ${kind || ""}`,
          tabindex: 0,
          role: "group",
          "aria-label": label,
          onkeydown: (event) => this.step(event),
          onblur: () => this.setState({ at: null }),
        },
        rows
          ? h(
              "div",
              { class: "heatrows", "aria-hidden": "true" },
              rows.map((row) => h("span", {}, row)),
            )
          : null,
        h("canvas", {
          class: "heat",
          width: values[0]?.length || 0,
          height: values.length,
          role: "img",
          "aria-label": label,
          style: `height:${Math.min(260, Math.max(60, values.length * cell))}px`,
          ref: (node) => (this.canvas = node),
          onpointermove: point,
          onpointerleave: () => this.setState({ at: null }),
        }),
      ),
      h("p", { class: "soft heatnote", role: "status" }, at && values[at[0]] ? say(at[0], at[1]) : ""),
    );
  }
}

/**
 * @param {object} options
 * @param {(number | null)[][]} options.values rows of cells
 * @param {string} options.color a custom property
 * @param {string} [options.negative] another for values below 0, which are then as strong as their size; low is 0
 * @param {number} options.low @param {number} options.high
 * @param {(row: number, column: number) => string} options.say tells a cell
 * @param {string} options.label
 * @param {string[] | null} [options.rows] names beside the rows
 * @param {number} [options.cell] a row's height in pixels
 * @param {string} [options.kind] a class of its own
 */
export const heat = (options) => h(Heat, options);
