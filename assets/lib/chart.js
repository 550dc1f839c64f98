/* Light plots in SVG and canvas: lines over steps or time with hover, several on one axis, a heat map. Knows nothing of runs. */
import * as L from "../lib/page.js";
import { h, s } from "./page.js";

const SIZE = 1000; // an area's own coordinates; the page stretches them

// Round places for an axis: about `count` steps of 1, 2, 2.5 or 5 times a power of ten.
export const ticks = (low, high, count = 5) => {
  const rough = (high - low || 1) / count,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) || power * 10;
  const first = Math.ceil(low / step - 1e-9) * step,
    places = [];
  for (let v = first; v <= high + step * 1e-6; v += step) places.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return places;
};

const extent = (lists) =>
  lists.reduce(
    ([low, high], list) => list.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [low, high]),
    [Infinity, -Infinity],
  );
const nearest = (xs, x) => {
  // ascending: halve
  let low = 0,
    high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : low;
};

/* One chart with its frame. Answers {box, area, main, read(x), hide}: read shows the values at x, here in a card or,
   for a strip, beside its title. */
const chart = (lines, marks, options) => {
  const full = lines.filter((line) => line.x.length),
    { strip } = options,
    [x0, x1] = options.range;
  const area = h("div", { class: "plotarea" }),
    box = h("div", { class: `plotbox ${strip ? "strip-plot" : ""} ${options.last ? "last" : ""}` }, area);
  let [y0, y1] = extent(full.map((line) => line.y));
  const ends = [...new Set([y0, y1])];
  const pad = (y1 - y0) * 0.06 || Math.abs(y1) * 0.1 || 1;
  y0 = y0 >= 0 ? Math.max(0, y0 - pad) : y0 - pad;
  y1 += pad;
  if (options.limits) [y0, y1] = [Math.min(y0, options.limits[0]), Math.max(y1, options.limits[1])];
  const px = (x) => ((x - x0) / (x1 - x0)) * 100,
    py = (y) => ((y1 - y) / (y1 - y0)) * 100;
  const yFormat = options.yFormat || ((v) => L.num(v, y1 - y0 < 0.5 ? 3 : 2));
  const svg = s("svg", {
    class: "plot",
    viewBox: `0 0 ${SIZE} ${SIZE}`,
    role: "img",
    "aria-label": options.label || "",
    preserveAspectRatio: "none",
  });
  const at = (place) => (place * SIZE) / 100,
    texts = [];
  for (const y of strip ? ends : ticks(y0, y1, 4)) {
    svg.append(s("line", { class: "axis", x1: 0, x2: SIZE, y1: at(py(y)), y2: at(py(y)) }));
    texts.push(h("span", { class: "tick y", style: `top:${py(y)}%` }, (options.tickFormat || yFormat)(y)));
  }
  if (options.last)
    for (const x of ticks(x0, x1, window.innerWidth < 640 ? 4 : 6))
      texts.push(h("span", { class: "tick x", style: `left:${px(x)}%` }, options.xFormat(x)));
  const many = (marks || []).length > 12; // then they are ticks on the axis, not lines through the plot
  for (const [i, mark] of (marks || []).entries()) {
    svg.append(
      s("line", {
        class: many ? "mark tickline" : "mark",
        x1: at(px(mark.x)),
        x2: at(px(mark.x)),
        y1: many ? SIZE * 0.97 : 0,
        y2: SIZE,
      }),
    );
    const room = (i + 1 < marks.length ? px(marks[i + 1].x) : 100) - px(mark.x); // in percent; a label is said on hover, too
    if (mark.label && !many && room >= 14)
      texts.push(h("span", { class: "tick marklabel", style: `left:${px(mark.x)}%` }, mark.label));
  }
  for (const line of full) {
    if (line.dots && !strip) continue;
    const d = line.x.map((x, i) => `${i ? "L" : "M"}${at(px(x)).toFixed(1)} ${at(py(line.y[i])).toFixed(1)}`).join("");
    svg.append(
      s("path", {
        d: line.x.length === 1 ? `${d}h.01` : d,
        class: `line ${line.faint ? "faint" : ""} ${line.dots ? "thin" : ""}`,
        style: `stroke:${line.color}`,
        "stroke-dasharray": line.dash,
      }),
    );
  }
  const dots = full
    .filter((line) => line.dots && line.x.length < 200)
    .flatMap((line) =>
      line.x.map((x, i) =>
        h("i", { class: "dot", style: `left:${px(x)}%;top:${py(line.y[i])}%;border-color:${line.color}` }),
      ),
    );
  const cursor = h("i", { class: "cursor", hidden: true }),
    card = h("div", { class: "plotcard", hidden: true });
  const said = h("span", { class: "strip-values" }),
    title = strip ? h("div", { class: "strip-title" }, h("span", {}, options.title), said) : null;
  L.show(area, svg, texts, dots, cursor, strip ? null : card);
  if (title) box.prepend(title);

  const key = (line) =>
    h("i", {
      class: line.dots ? "dot" : "dash",
      style: line.dots ? `border-color:${line.color}` : `background:${line.color}`,
    });
  const values = (x) =>
    full
      .map((line) => {
        const i = nearest(line.x, x);
        return line.dots && Math.abs(line.x[i] - x) > (x1 - x0) / 40 ? null : { line, value: yFormat(line.y[i]) };
      })
      .filter(Boolean);
  const resting = () =>
    strip
      ? L.show(
          said,
          values(x1).map((each) => [
            full.length > 1 ? key(each.line) : null,
            each.line.short ? h("span", { class: "short" }, each.line.short) : null,
            h("b", {}, each.value),
          ]),
        )
      : null;
  const read = (x) => {
    cursor.hidden = false;
    cursor.style.left = `${px(x)}%`;
    if (strip)
      return L.show(
        said,
        values(x).map((each) => [
          full.length > 1 ? key(each.line) : null,
          each.line.short ? h("span", { class: "short" }, each.line.short) : null,
          h("b", {}, each.value),
        ]),
      );
    card.hidden = false;
    card.style.left = px(x) > 50 ? "auto" : `calc(${px(x)}% + 10px)`;
    card.style.right = px(x) > 50 ? `calc(${100 - px(x)}% + 10px)` : "auto";
    const mark = (marks || []).find((each) => Math.abs(each.x - x) <= (x1 - x0) / 200);
    L.show(
      card,
      h("b", {}, `${options.xName || ""} ${options.xFormat(x)}`.trim()),
      values(x).map((each) =>
        h("div", {}, key(each.line), h("span", {}, each.line.name), h("span", { class: "n" }, each.value)),
      ),
      mark && mark.text ? h("div", {}, h("span", { class: "soft" }, mark.text)) : null,
    );
  };
  const hide = () => {
    cursor.hidden = card.hidden = true;
    resting();
  };
  if (!strip) card.setAttribute("role", "status");
  resting();
  return { box, area, main: full.find((line) => !line.dots) || full[0], read, hide };
};

/* Charts one below the other on one axis; the pointer, or the arrow keys, read all of them at the same place.
   charts: [{lines, marks, title, yFormat, label}], the first one large. A line: {name, short, x: [], y: [], color,
   faint, dots, dash}; a mark: {x, label, text}. options: {xName, xFormat, xMax, label, empty}. */
export const plots = (charts, options) => {
  const whole = charts.filter((each) => each.lines.some((line) => line.x.length));
  const stack = h("div", { class: "plots", tabindex: 0, role: "group", "aria-label": options.label || "" });
  if (!whole.length) {
    L.show(stack, h("p", { class: "soft plot-empty" }, options.empty || ""));
    return stack;
  }
  const [low, high] = extent(whole.flatMap((each) => each.lines.map((line) => line.x)));
  const x0 = Math.min(0, low),
    x1 = Math.max(options.xMax || 0, high, x0 + 1),
    xFormat = options.xFormat || L.int;
  const made = whole.map((each, i) =>
    chart(each.lines, each.marks, {
      ...options,
      ...each,
      xFormat,
      range: [x0, x1],
      strip: i > 0,
      last: i === whole.length - 1,
    }),
  );
  L.show(
    stack,
    made.map((each) => each.box),
  );
  const main = made[0].main;
  let place = x1;
  const read = (x) => {
    place = main.x[nearest(main.x, x)];
    made.forEach((each) => each.read(place));
  };
  const hide = () => made.forEach((each) => each.hide());
  stack.addEventListener("pointermove", (event) => {
    const rect = made[0].area.getBoundingClientRect();
    read(x0 + ((event.clientX - rect.left) / rect.width) * (x1 - x0));
  });
  stack.addEventListener("pointerleave", hide);
  stack.addEventListener("blur", hide);
  stack.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const i = nearest(main.x, place) + by * Math.max(1, Math.round(main.x.length / 60));
    read(main.x[Math.max(0, Math.min(main.x.length - 1, i))]);
  });
  return stack;
};
export const plot = (lines, marks, options) => plots([{ ...options, lines, marks }], options);

/* values: rows of cells (number or null); each cell filled with `color`, stronger for more. say(row, column) tells a cell. */
export const heat = (values, { color, low, high, say, label, cell = 12 }) => {
  const rows = values.length,
    columns = values[0]?.length || 0;
  const canvas = h("canvas", {
    class: "heat",
    width: columns,
    height: rows,
    role: "img",
    "aria-label": label,
    style: `height:${Math.min(260, Math.max(60, rows * cell))}px`,
  });
  const pen = canvas.getContext("2d");
  const paint = () => {
    pen.clearRect(0, 0, columns, rows);
    pen.fillStyle = getComputedStyle(canvas).getPropertyValue(color).trim() || "#00775a";
    values.forEach((row, y) =>
      row.forEach((value, x) => {
        if (value === null || value === undefined) return;
        pen.globalAlpha = 0.14 + 0.86 * ((value - low) / (high - low || 1));
        pen.fillRect(x, y, 1, 1);
      }),
    );
  };
  requestAnimationFrame(paint);
  const note = h("span", { class: "soft heatnote", role: "status" });
  canvas.addEventListener("pointermove", (event) => {
    const rect = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - rect.left) / rect.width) * columns),
      y = Math.floor(((event.clientY - rect.top) / rect.height) * rows);
    if (values[y] && values[y][x] !== undefined) note.textContent = say(y, x);
  });
  canvas.addEventListener("pointerleave", () => {
    note.textContent = "";
  });
  return { canvas, note };
};
