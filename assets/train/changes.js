/* How far training moved each matrix of a finished run, as a heat map by layer and kind. It is computed when asked for,
   in parts, and fills as they come. */
import { heat } from "../lib/chart/heat.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

const KINDS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const FIGURES = ["relative", "effective_rank", "inside"];
const state = { id: "", matrices: [], total: 0, busy: false, error: null, figure: "relative", open: false };

/** Kinds in their usual order, and a row of cells for each: the matrix of that kind in each layer, or null. */
export const grid = (matrices) => {
  const inside = matrices.filter((each) => each.layer !== null);
  const order = (kind) => {
    const at = KINDS.indexOf(kind.split(".").at(-1));
    return at < 0 ? KINDS.length : at;
  };
  const kinds = [...new Set(inside.map((each) => each.kind))].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
  const depth = Math.max(-1, ...inside.map((each) => each.layer)) + 1;
  const known = new Map(inside.map((each) => [`${each.kind} ${each.layer}`, each]));
  const rows = kinds.map((kind) => Array.from({ length: depth }, (_, layer) => known.get(`${kind} ${layer}`) ?? null));
  return { kinds, rows };
};

const written = {
  relative: (each) => L.percent(each.relative, 2),
  effective_rank: (each) => L.num(each.effective_rank, 1) + (each.sketched ? "+" : ""),
  inside: (each) =>
    t("changes_inside_of", { share: L.num(each.inside * 100, 1), chance: L.num(each.by_chance * 100, 1) }),
};

/** The figure's mean over the matrices that have it, in a sentence; "" where none has. */
export const summary = (matrices, figure) => {
  const having = matrices.filter((each) => each.layer !== null && each[figure] !== null);
  if (!having.length) return "";
  const mean = (key) => having.reduce((sum, each) => sum + each[key], 0) / having.length;
  const most = having.reduce((a, b) => (b[figure] > a[figure] ? b : a));
  const values = { mean: written[figure]({ ...having[0], [figure]: mean(figure), by_chance: mean("by_chance") }) };
  return t(`changes_mean_${figure}`, { ...values, name: `${most.kind} ${most.layer}`, most: written[figure](most) });
};

const compute = async (ask, draw) => {
  const { id } = state;
  let start = state.matrices.length;
  state.busy = true;
  while (start !== null) {
    draw();
    const part = await ask("changes", { run_id: id, start });
    if (state.id !== id) return; // another run was chosen meanwhile
    if (!state.open || part.error) {
      state.error = part.error || null;
      break;
    }
    state.matrices.push(...part.matrices);
    state.total = part.total;
    start = part.next;
  }
  state.busy = false;
  draw();
};

const map = (figure) => {
  const { kinds, rows } = grid(state.matrices);
  const values = rows.map((row) => row.map((each) => each?.[figure] ?? null));
  const all = values.flat().filter((value) => value !== null);
  if (!all.length) return h("p", { class: "soft" }, state.busy ? "" : t(`changes_none_${figure}`));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const say = (y, x) => {
    const each = rows[y][x];
    return `${kinds[y]} ${x}: ${each && values[y][x] !== null ? written[figure](each) : "–"}`;
  };
  const label = t("changes_title");
  const names = kinds.map((kind) =>
    kind
      .split(".")
      .at(-1)
      .replace(/_proj$/, ""),
  );
  const around = { label, cell: 16, rows: names, kind: "layer" };
  return heat({ values, color: "--greedy", low: low - 0.1 * (high - low), high, say, ...around });
};

/** A fold on a finished run. `ask(name, data)` calls the server. */
export const changesBox = (status, ask, draw) => {
  if (status?.state !== "completed" || !status.model_id) return null;
  if (state.id !== status.run_id)
    Object.assign(state, { id: status.run_id, matrices: [], total: 0, busy: false, error: null, open: false });
  const { figure, matrices, total, busy } = state;
  const open = (event) => {
    state.open = event.target.open;
    if (state.open && !busy && (!total || matrices.length < total)) compute(ask, draw);
  };
  const pick = (value) => {
    state.figure = value;
    draw();
  };
  /** @type {[string, string][]} */
  const options = FIGURES.map((name) => [name, t(`changes_${name}`)]);
  return h(
    "section",
    { class: "box", "data-key": "changes" },
    h(
      "details",
      { open: state.open, ontoggle: open },
      h("summary", {}, t("changes_title")),
      L.choice(t("changes_title"), options, figure, pick),
      map(figure),
      h("p", { class: "soft" }, [summary(matrices, figure), t(`changes_about_${figure}`)].filter(Boolean).join(" ")),
      busy ? L.progressBar(total ? matrices.length / total : null, t("changes_title")) : null,
      L.notice(state.error),
    ),
  );
};
