/* Light plots in SVG and canvas: lines over steps or time with hover, a heat map. Knows nothing of runs. */
(() => {
  "use strict";
  const L = window.llmdemo;
  if (!L || L.plot) return;
  const { h, s } = L;
  const W = 900, H = 260, LEFT = 46, RIGHT = 10, TOP = 14, BOTTOM = 24;

  // Round places for an axis: about `count` steps of 1, 2, 2.5 or 5 times a power of ten.
  L.ticks = (low, high, count = 5) => {
    const rough = (high - low || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) || power * 10;
    const first = Math.ceil(low / step - 1e-9) * step, places = [];
    for (let v = first; v <= high + step * 1e-6; v += step) places.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return places;
  };

  const spread = (lines) => {
    const xs = lines.flatMap((line) => line.x), ys = lines.flatMap((line) => line.y);
    const low = (list) => list.reduce((a, b) => Math.min(a, b), Infinity), high = (list) => list.reduce((a, b) => Math.max(a, b), -Infinity);
    return { x0: low(xs), x1: high(xs), y0: low(ys), y1: high(ys) };
  };

  /* lines: [{name, x: [], y: [], color, faint, dots, dash}]; marks: [{x, label}]; options: {xName, yFormat, xFormat, xMax, label, empty}
     The outer 2 % of the values may lie off a linear axis only where `clip` says so; nothing is hidden otherwise. */
  L.plot = (lines, marks, options) => {
    const full = lines.filter((line) => line.x.length);
    const box = h("div", { class: "plotbox" });
    if (!full.length) { L.show(box, h("p", { class: "soft plot-empty" }, options.empty || "")); return box; }
    const range = spread(full);
    const x0 = Math.min(0, range.x0), x1 = Math.max(options.xMax || 0, range.x1, x0 + 1);
    let pad = (range.y1 - range.y0) * 0.06 || Math.abs(range.y1) * 0.1 || 1;
    const y0 = range.y0 >= 0 ? Math.max(0, range.y0 - pad) : range.y0 - pad, y1 = range.y1 + pad;
    const px = (x) => LEFT + ((x - x0) / (x1 - x0)) * (W - LEFT - RIGHT), py = (y) => TOP + ((y1 - y) / (y1 - y0)) * (H - TOP - BOTTOM);
    const yFormat = options.yFormat || ((v) => L.num(v, y1 - y0 < 0.5 ? 3 : 2)), xFormat = options.xFormat || L.int;
    const svg = s("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": options.label || "", preserveAspectRatio: "none" });
    const svgText = (x, y, text, anchor) => h("span", { class: `tick ${anchor}`, style: `left:${(x / W) * 100}%;top:${(y / H) * 100}%` }, text);
    const texts = [];
    for (const y of L.ticks(y0, y1, 4)) {
      svg.append(s("line", { class: "axis", x1: LEFT, x2: W - RIGHT, y1: py(y), y2: py(y) }));
      texts.push(svgText(LEFT - 6, py(y), yFormat(y), "y"));
    }
    for (const x of L.ticks(x0, x1, 6)) texts.push(svgText(px(x), H - BOTTOM + 12, xFormat(x), "x"));
    const many = (marks || []).length > 12; // then they are ticks on the axis, not lines through the plot
    for (const mark of marks || []) {
      svg.append(s("line", { class: many ? "mark tickline" : "mark", x1: px(mark.x), x2: px(mark.x), y1: many ? H - BOTTOM - 6 : TOP, y2: H - BOTTOM }));
      if (mark.label && !many) texts.push(h("span", { class: "tick marklabel", style: `left:${(px(mark.x) / W) * 100}%;top:${(TOP / H) * 100}%` }, mark.label));
    }
    for (const line of full) {
      const d = line.x.map((x, i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(line.y[i]).toFixed(1)}`).join("");
      if (!line.dots) svg.append(s("path", { d, class: `line ${line.faint ? "faint" : ""}`, style: `stroke:${line.color}`, "stroke-dasharray": line.dash }));
    }
    const dots = full.filter((line) => line.dots).flatMap((line) => line.x.map((x, i) =>
      h("i", { class: "dot", style: `left:${(px(x) / W) * 100}%;top:${(py(line.y[i]) / H) * 100}%;border-color:${line.color}` })));
    const cursor = h("i", { class: "cursor", hidden: true }), card = h("div", { class: "plotcard", hidden: true });
    L.show(box, svg, texts, dots, cursor, card);

    const nearest = (line, x) => line.x.reduce((best, value, i) => (Math.abs(value - x) < Math.abs(line.x[best] - x) ? i : best), 0);
    const read = (x) => {
      const main = full.find((line) => !line.dots) || full[0];
      const at = main.x[nearest(main, x)];
      cursor.hidden = card.hidden = false;
      cursor.style.left = `${(px(at) / W) * 100}%`;
      card.style.left = px(at) > W / 2 ? "auto" : `calc(${(px(at) / W) * 100}% + 10px)`;
      card.style.right = px(at) > W / 2 ? `calc(${100 - (px(at) / W) * 100}% + 10px)` : "auto";
      const mark = (marks || []).find((each) => Math.abs(each.x - at) <= (x1 - x0) / 200);
      L.show(card, h("b", {}, `${options.xName || ""} ${xFormat(at)}`.trim()),
        full.map((line) => {
          const i = nearest(line, at);
          if (line.dots && Math.abs(line.x[i] - at) > (x1 - x0) / 40) return null;
          return h("div", {}, h("i", { class: line.dots ? "dot" : "dash", style: line.dots ? `border-color:${line.color}` : `background:${line.color}` }), h("span", {}, line.name), h("span", { class: "n" }, yFormat(line.y[i])));
        }), mark && mark.text ? h("div", {}, h("span", { class: "soft" }, mark.text)) : null);
      return at;
    };
    const hide = () => { cursor.hidden = card.hidden = true; };
    box.addEventListener("pointermove", (event) => {
      const rect = box.getBoundingClientRect();
      read(x0 + (((event.clientX - rect.left) / rect.width) * W - LEFT) / (W - LEFT - RIGHT) * (x1 - x0));
    });
    box.addEventListener("pointerleave", hide);
    // The arrow keys walk along the curve.
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", options.label || "");
    card.setAttribute("role", "status");
    let place = x1;
    box.addEventListener("keydown", (event) => {
      const main = full.find((line) => !line.dots) || full[0], by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const i = Math.max(0, Math.min(main.x.length - 1, nearest(main, place) + by * Math.max(1, Math.round(main.x.length / 60))));
      place = read(main.x[i]);
    });
    box.addEventListener("blur", hide);
    return box;
  };

  /* values: rows of cells (number or null); each cell filled with `color`, stronger for more. say(row, column) tells a cell. */
  L.heat = (values, { color, low, high, say, label, cell = 12 }) => {
    const rows = values.length, columns = values[0]?.length || 0;
    const canvas = h("canvas", { class: "heat", width: columns, height: rows, role: "img", "aria-label": label, style: `height:${Math.min(260, Math.max(60, rows * cell))}px` });
    const pen = canvas.getContext("2d");
    const paint = () => {
      pen.clearRect(0, 0, columns, rows);
      pen.fillStyle = getComputedStyle(canvas).getPropertyValue(color).trim() || "#00775a";
      values.forEach((row, y) => row.forEach((value, x) => {
        if (value === null || value === undefined) return;
        pen.globalAlpha = 0.14 + 0.86 * ((value - low) / (high - low || 1));
        pen.fillRect(x, y, 1, 1);
      }));
    };
    requestAnimationFrame(paint);
    const note = h("span", { class: "soft heatnote", role: "status" });
    canvas.addEventListener("pointermove", (event) => {
      const rect = canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - rect.left) / rect.width) * columns), y = Math.floor(((event.clientY - rect.top) / rect.height) * rows);
      if (values[y] && values[y][x] !== undefined) note.textContent = say(y, x);
    });
    canvas.addEventListener("pointerleave", () => { note.textContent = ""; });
    return { canvas, note };
  };
})();
