/* Lines over steps or time, one chart below the other on one axis: read by pointer or arrow keys, and as a table. Knows
   nothing of runs. */
import { int, num } from "../format.js";
import { Component, h, s } from "../view.js";
import { t } from "../words.js";
import { extent, namedOnce, nearest, progressAxis, spread, ticks, valueAxis } from "./axis.js";

/**
 * @typedef {{name: string, short?: string, x: number[], y: number[], color: string, faint?: boolean, dots?: boolean,
 *   dash?: string | null}} Line
 * @typedef {{x: number, label?: string, text?: string}} Mark
 * @typedef {{from: number, to: number, text: string}} Band a stretch of the axis that is shaded, and what it is
 * @typedef {{lines: Line[], marks?: Mark[], bands?: Band[], title?: string, label?: string,
 *   yFormat?: (v: number) => string,
 *   tickFormat?: (v: number) => string, limits?: [number, number] | null}} Chart
 */

const SIZE = 1000; // an area's own coordinates; the page stretches them
const MOST_MARKS = 12; // more are ticks on the axis, not lines through the plot
const MOST_DOTS = 200;
const LABEL_ROOM = 14; // per cent of the width that a mark's label needs
const NARROW = 640;
const TABLE_ROWS = 40;

const at = (place) => (place * SIZE) / 100;
const path = (line, px, py) => {
  return line.x.map((x, i) => `${i ? "L" : "M"}${at(px(x)).toFixed(1)} ${at(py(line.y[i])).toFixed(1)}`).join("");
};

/** Those drawn as dots: a line of one point would not be seen. @param {Line[]} lines */
export const dotted = (lines) =>
  lines.filter((line) => line.x.length === 1 || (line.dots && line.x.length < MOST_DOTS));

/** A small piece of a line, or a dot, in its colour. @param {Line} line */
export const keyOf = (line) =>
  h("i", {
    class: line.dots ? "dot" : "dash",
    style: line.dots ? `border-color:${line.color}` : `background:${line.color}`,
  });

/** What a chart needs to be drawn. @param {Chart} chart @param {[number, number]} range */
const scaled = (chart, [x0, x1]) => {
  const lines = chart.lines.filter((line) => line.x.length);
  const [low, high] = extent(lines.map((line) => line.y));
  const [y0, y1] = valueAxis(low, high, chart.limits);
  const px = (x) => ((x - x0) / (x1 - x0)) * 100;
  const py = (y) => ((y1 - y) / (y1 - y0)) * 100;
  const yFormat = chart.yFormat || ((v) => num(v, y1 - y0 < 0.5 ? 3 : 2));
  const values = (x) =>
    lines
      .map((line) => ({ line, i: nearest(line.x, x) }))
      .filter(({ line, i }) => !line.dots || Math.abs(line.x[i] - x) <= (x1 - x0) / 40)
      .map(({ line, i }) => ({ line, value: yFormat(line.y[i]) }));
  return { ...chart, lines, low, high, y0, y1, px, py, yFormat, values };
};

const gridOf = (chart, places) =>
  namedOnce(places, chart.tickFormat || chart.yFormat).map((y) => [
    s("line", { class: "axis", x1: 0, x2: SIZE, y1: at(chart.py(y)), y2: at(chart.py(y)) }),
    h("span", { class: "tick y", style: `top:${chart.py(y)}%` }, (chart.tickFormat || chart.yFormat)(y)),
  ]);

const marksOf = (marks, px) => {
  const many = marks.length > MOST_MARKS;
  const lines = marks.map((mark) =>
    s("line", {
      class: many ? "mark tickline" : "mark",
      x1: at(px(mark.x)),
      x2: at(px(mark.x)),
      y1: many ? SIZE * 0.97 : 0,
      y2: SIZE,
    }),
  );
  const room = (i) => (i + 1 < marks.length ? px(marks[i + 1].x) : 100) - px(marks[i].x);
  const labels = marks.map((mark, i) =>
    mark.label && !many && room(i) >= LABEL_ROOM
      ? h("span", { class: "tick marklabel", style: `left:${px(mark.x)}%` }, mark.label)
      : null,
  );
  return [lines, labels];
};

const bandsOf = (bands, px) =>
  bands.map((band) =>
    s(
      "rect",
      { class: "band", x: at(px(band.from)), y: 0, width: at(px(band.to) - px(band.from)), height: SIZE },
      s("title", {}, band.text),
    ),
  );

const areaOf = (chart, options, { strip, last, goal, place }) => {
  const { px, py } = chart;
  const grid = gridOf(chart, strip ? [...new Set([chart.low, chart.high])] : ticks(chart.y0, chart.y1, 4));
  const [markLines, markLabels] = marksOf(chart.marks || [], px);
  const places = last ? ticks(options.range[0], options.range[1], options.ticks) : [];
  const steps = namedOnce(places, options.xFormat);
  const drawn = chart.lines.filter((line) => !line.dots || strip);
  const dots = dotted(chart.lines);
  const dot = (line) =>
    line.x.map((x, i) =>
      h("i", { class: "dot", style: `left:${px(x)}%;top:${py(line.y[i])}%;border-color:${line.color}` }),
    );
  return h(
    "div",
    { class: "plotarea" },
    s(
      "svg",
      {
        class: "plot",
        viewBox: `0 0 ${SIZE} ${SIZE}`,
        role: "img",
        "aria-label": chart.label || "",
        preserveAspectRatio: "none",
      },
      bandsOf(chart.bands || [], px),
      grid.map(([line]) => line),
      markLines,
      drawn.map((line) =>
        s("path", {
          d: path(line, px, py),
          class: `line ${line.faint ? "faint" : ""} ${line.dots ? "thin" : ""}`,
          style: `stroke:${line.color}`,
          "stroke-dasharray": line.dash,
        }),
      ),
    ),
    grid.map(([, text]) => text),
    markLabels,
    steps.map((x) => h("span", { class: "tick x", style: `left:${px(x)}%` }, options.xFormat(x))),
    goal && !strip ? h("span", { class: "tick goal" }, t("plot_goal", { goal: options.xFormat(goal) })) : null,
    dots.map(dot),
    h("i", { class: "cursor", hidden: place === null, style: `left:${px(place ?? 0)}%` }),
    strip ? null : cardOf(chart, options, place),
  );
};

/** The values at `place`, beside the cursor. */
const cardOf = (chart, options, place) => {
  const x = place ?? options.range[1];
  const left = chart.px(x) <= 50;
  const side = left ? `left:calc(${chart.px(x)}% + 10px)` : `right:calc(${100 - chart.px(x)}% + 10px)`;
  const near = (options.range[1] - options.range[0]) / 200;
  const mark = (chart.marks || []).find((each) => Math.abs(each.x - x) <= near);
  const band = (chart.bands || []).find((each) => each.from < x && x <= each.to);
  return h(
    "div",
    { class: "plotcard", role: "status", hidden: place === null, style: side },
    place === null
      ? null
      : [
          h("b", {}, `${options.xName || ""} ${options.xFormat(x)}`.trim()),
          chart.values(x).map(({ line, value }) => {
            const name = h("span", {}, line.name);
            return h("div", {}, keyOf(line), name, h("span", { class: "n" }, value));
          }),
          [mark, band].map((each) => (each?.text ? h("div", {}, h("span", { class: "soft" }, each.text)) : null)),
        ],
  );
};

const stripTitle = (chart, options, place) =>
  h(
    "div",
    { class: "strip-title" },
    h("span", {}, chart.title),
    h(
      "span",
      { class: "strip-values" },
      chart
        .values(place ?? options.range[1])
        .map(({ line, value }) => [
          chart.lines.length > 1 ? keyOf(line) : null,
          line.short ? h("span", { class: "short" }, line.short) : null,
          h("b", {}, value),
        ]),
    ),
  );

/** The same figures for those who read them in words: some of the places, one row each. */
const tableOf = (charts, options) => {
  const main = mainOf(charts[0]);
  const columns = charts.flatMap((chart) => chart.lines.map((line) => ({ chart, line })));
  const row = (x) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "n" }, options.xFormat(x)),
      columns.map(({ chart, line }) => {
        const i = line.x.indexOf(x);
        return h("td", { class: "n" }, i < 0 ? "" : chart.yFormat(line.y[i]));
      }),
    );
  const title = ({ chart, line }) =>
    chart.title && chart.title !== line.name ? `${chart.title}: ${line.name}` : line.name;
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": t("plot_table") },
    h(
      "table",
      { class: "figures-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { class: "n" }, options.xName || t("train_time")),
          columns.map((each) => h("th", { class: "n" }, title(each))),
        ),
      ),
      h(
        "tbody",
        {},
        spread(main.x.length, TABLE_ROWS).map((i) => row(main.x[i])),
      ),
    ),
  );
};

const mainOf = (chart) => chart.lines.find((line) => !line.dots) || chart.lines[0];

class Plots extends Component {
  state = { place: null, table: false };

  read(x, main) {
    this.setState({ place: main.x[nearest(main.x, x)] });
  }

  step(event, main, end) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const here = this.state.place ?? end;
    const i = nearest(main.x, here) + by * Math.max(1, Math.round(main.x.length / 60));
    this.setState({ place: main.x[Math.max(0, Math.min(main.x.length - 1, i))] });
  }

  render({ charts, options }, { place, table }) {
    const whole = charts.filter((each) => each.lines.some((line) => line.x.length));
    const label = options.label || "";
    if (!whole.length) return h("div", { class: "plots" }, h("p", { class: "soft plot-empty" }, options.empty || ""));
    const [low, high] = extent(whole.flatMap((each) => each.lines.map((line) => line.x)));
    const { end, goal } = progressAxis(high, options.xMax || 0);
    /** @type {[number, number]} */
    const range = [Math.min(0, low), Math.max(end, Math.min(0, low) + 1)];
    const wide = window.innerWidth < NARROW ? 4 : 6;
    const settings = { xName: options.xName, xFormat: options.xFormat || int, range, ticks: options.ticks || wide };
    const made = whole.map((each) => scaled(each, range));
    const main = mainOf(made[0]);
    const moving = made.filter((chart, i) => !i || chart.low !== chart.high);
    const last = moving[moving.length - 1];
    const hide = () => this.setState({ place: null });
    const point = (event) => {
      const box = event.currentTarget.querySelector(".plotarea").getBoundingClientRect();
      this.read(range[0] + ((event.clientX - box.left) / box.width) * (range[1] - range[0]), main);
    };
    const drawn = (chart) => {
      const strip = chart !== made[0];
      const flat = strip && chart.low === chart.high; // nothing to see but the number
      const look = { strip, last: chart === last, goal, place };
      return h(
        "div",
        { class: `plotbox ${strip ? "strip-plot" : ""} ${flat ? "flat" : ""} ${chart === last ? "last" : ""}` },
        strip ? stripTitle(chart, settings, place) : null,
        flat ? null : areaOf(chart, settings, look),
      );
    };
    return h(
      "div",
      { class: "plots-place" },
      h(
        "div",
        {
          class: "plots",
          tabindex: 0,
          role: "group",
          "aria-label": label,
          onpointermove: point,
          onpointerleave: hide,
          onblur: hide,
          onkeydown: (event) => this.step(event, main, range[1]),
        },
        made.map(drawn),
      ),
      h(
        "details",
        { class: "plot-table", open: table, ontoggle: (event) => this.setState({ table: event.target.open }) },
        h("summary", {}, t("plot_table")),
        table ? tableOf(made, settings) : null,
      ),
    );
  }
}

/**
 * Charts one below the other on one axis, the first one large; the pointer, or the arrow keys, read all of them at the
 * same place.
 * @param {Chart[]} charts
 * @param {{xName?: string, xFormat?: (x: number) => string, xMax?: number, label?: string, empty?: string,
 *   ticks?: number}} options ticks: about how many places of the axis are named, where they stand in a narrow place
 */
export const plots = (charts, options) => h(Plots, { charts, options });

/** One chart. @param {Line[]} lines @param {Mark[]} marks */
export const plot = (lines, marks, options) => plots([{ ...options, lines, marks }], options);
