/* What lessons show in place, on the visitor's own model where they need one: the first result, GaLore by hand, memory
   as blocks, the sampler. Each is a component with {server}; none knows which lesson it is in. */
import { heat } from "../lib/chart/heat.js";
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";
import { example, galore } from "./svd.js";

const range = (label, value, most, oninput, shown) =>
  h(
    "label",
    { class: "lesson-range" },
    h("span", {}, label),
    h("input", { type: "range", min: 0, max: most, value, oninput: (event) => oninput(Number(event.target.value)) }),
    h("output", {}, shown),
  );

// ---- one result within a minute
class Start extends Component {
  state = { begun: null, before: null, after: null, run: null, error: null, busy: false };
  /** @type {(() => void) | undefined} */
  deaf = undefined;
  looking = false;
  componentDidMount() {
    this.deaf = L.hear("job", ({ kind, job_id: id }) => {
      if (this.state.busy && (kind === "all" || id === this.state.begun?.run_id)) this.look();
    });
  }
  componentWillUnmount() {
    this.deaf?.();
  }
  begin = async () => {
    const { server } = this.props;
    this.setState({ busy: true, error: null });
    const begun = await L.ask(server, "begin");
    if (begun.error) return this.setState({ busy: false, error: begun.error });
    this.setState({ begun });
    const before = await L.ask(server, "answer", { model_id: "starter", prompt: begun.prompt });
    this.setState({ before: before.text ?? "", error: before.error || null });
    this.look();
  };
  look = async () => {
    const { begun, before } = this.state;
    if (this.looking || before === null) return; // the base answers first
    this.looking = true;
    await this.lookOnce(begun);
    this.looking = false;
  };
  lookOnce = async (begun) => {
    const run = await L.ask(this.props.server, "progress", { run_id: begun.run_id });
    if (run.error && !run.lost) return this.setState({ busy: false, error: run.error });
    if (!run.error) this.setState({ run });
    if (["failed", "stopped"].includes(run.state))
      return this.setState({
        busy: false,
        error: { message: run.message || t("lesson_start_failed"), hint: run.hint || "" },
      });
    if (run.state !== "completed") return;
    const after = await L.ask(this.props.server, "answer", { model_id: run.model_id, prompt: begun.prompt });
    this.setState({ busy: false, after: after.text ?? "", error: after.error || null });
    if (!after.error) this.props.done();
  };
  render(_props, { begun, before, after, run, error, busy }) {
    const share = run?.total_steps ? Math.min(1, (run.step || 0) / run.total_steps) : null;
    const said = (key, text) =>
      h("div", { class: "lesson-said" }, h("h4", {}, t(key)), h("p", { class: "prompt" }, text));
    return h(
      "div",
      { class: "lesson-start" },
      begun || busy ? null : L.button(t("lesson_start_go"), this.begin, "strong", { id: "lesson-start" }),
      begun ? said("lesson_start_prompt", begun.prompt.at(-1).content) : null,
      before === null ? null : said("lesson_start_before", before),
      busy ? L.progressBar(share, t("lesson_start_training")) : null,
      busy ? h("p", { class: "soft", role: "status" }, t(begun ? "lesson_start_training" : "lesson_start_wait")) : null,
      after === null ? null : said("lesson_start_after", after),
      after === null ? null : said("lesson_start_wanted", begun.wanted),
      L.notice(error),
      error ? L.button(t("lesson_again"), this.begin, "quiet") : null,
    );
  }
}

// ---- GaLore by hand
const GRADIENT = example();
const LARGEST = Math.max(...GRADIENT.flat().map(Math.abs));
const matrix = (key, values, high = LARGEST) => {
  const say = (y, x) => `${t(`galore_${key}`)} ${y + 1}, ${x + 1}: ${L.num(values[y][x], 2)}`;
  const form = `${values.length} × ${values[0].length}`;
  return h(
    "figure",
    { class: "galore-step", "data-key": key },
    h("figcaption", {}, h("b", {}, t(`galore_${key}`)), " ", h("span", { class: "soft" }, form)),
    h(
      "div",
      { style: `width:${12 * values[0].length}px` },
      heat({ values, color: "--greedy", negative: "--topk", low: 0, high, say, label: t(`galore_${key}`), cell: 12 }),
    ),
  );
};

class GaLore extends Component {
  state = { rank: 2 };
  render(_props, { rank }) {
    const m = GRADIENT.length;
    const n = GRADIENT[0].length;
    const { s, basis, low, update, back, lost, share } = galore(GRADIENT, rank);
    const values = s.map((value) => L.num(value, 2)).join(", ");
    const kept = { share: L.num(100 * share, 1), values: 2 * rank * n + m * rank, full: 2 * m * n };
    return h(
      "div",
      {},
      range(t("galore_rank"), rank - 1, m - 1, (value) => this.setState({ rank: value + 1 }), String(rank)),
      h(
        "div",
        { class: "galore-steps" },
        matrix("gradient", GRADIENT),
        matrix("basis", basis, 1),
        matrix("low", low),
        matrix("update", update, 1),
        matrix("back", back, 1),
        matrix("lost", lost),
      ),
      h("p", {}, t("galore_kept", kept)),
      h("p", { class: "soft" }, t("galore_values", { values })),
    );
  }
}

// ---- memory as blocks
const SIZES = ["60M", "130M", "350M", "1B", "3B", "7B", "13B", "34B", "70B"];
const RANKS = [4, 16, 64, 128, 256, 512, 1024];
const PARTS = ["weights", "gradients", "subspace", "moments", "activations"];
class Memory extends Component {
  state = { size: 5, rank: 3, found: {}, error: null };
  componentDidMount() {
    this.compute();
  }
  key = (method) => `${SIZES[this.state.size]} ${this.state.rank} ${method}`;
  compute = async () => {
    const asked = { size: SIZES[this.state.size], rank: RANKS[this.state.rank] };
    for (const method of ["adamw", "galore", "lora"]) {
      const key = this.key(method);
      if (this.state.found[key]) continue;
      const blocks = await L.ask(this.props.server, "memory", { ...asked, method });
      if (blocks.error) return this.setState({ error: blocks.error });
      this.setState(({ found }) => ({ found: { ...found, [key]: blocks } }));
      if (asked.size !== SIZES[this.state.size] || asked.rank !== RANKS[this.state.rank]) return;
    }
  };
  change = (values) => this.setState({ ...values, error: null }, this.compute);
  bar(method, most) {
    const blocks = this.state.found[this.key(method)];
    if (!blocks) return h("p", { class: "soft", role: "status" }, t("lesson_computing"));
    const part = (name) =>
      h("i", {
        class: `part-${name}`,
        title: `${t(`lesson_part_${name}`)}: ${L.bytes(blocks.parts[name])}`,
        style: `width:${((100 * blocks.parts[name]) / most).toFixed(2)}%`,
      });
    return h("div", { class: "blocks", role: "img", "aria-label": L.bytes(blocks.total) }, PARTS.map(part));
  }
  render(_props, { size, rank, found, error }) {
    const methods = ["adamw", "lora", "galore"];
    const totals = methods.map((method) => found[this.key(method)]?.total);
    const most = Math.max(1, ...totals.map((total) => total || 0));
    const row = (method, n) => [
      h("dt", {}, t(`method_${method}`), " ", h("b", {}, totals[n] ? L.bytes(totals[n]) : "")),
      h("dd", {}, this.bar(method, most)),
    ];
    const key = (name) => h("span", { class: "key" }, h("i", { class: `part-${name}` }), t(`lesson_part_${name}`));
    return h(
      "div",
      {},
      range(t("lesson_size"), size, SIZES.length - 1, (value) => this.change({ size: value }), SIZES[size]),
      range(t("galore_rank"), rank, RANKS.length - 1, (value) => this.change({ rank: value }), String(RANKS[rank])),
      h("dl", { class: "memory-blocks" }, methods.map(row)),
      h("p", { class: "soft keys" }, PARTS.map(key)),
      h("p", { class: "soft" }, t("lesson_memory_about")),
      L.notice(error),
    );
  }
}

// ---- the sampler
/** How many of these falling probabilities top-p keeps: the smallest set whose sum reaches p. */
export const keptBy = (probabilities, p) => {
  let sum = 0;
  for (let n = 0; n < probabilities.length; n += 1) {
    sum += probabilities[n];
    if (sum >= p - 1e-9) return n + 1;
  }
  return probabilities.length;
};

class Sampler extends Component {
  state = { prompt: t("lesson_sampler_prompt"), p: 10, found: null, error: null, busy: false };
  componentDidMount() {
    this.look();
  }
  look = async () => {
    this.setState({ busy: true, error: null });
    const asked = { model_id: "starter", prompt: { raw: this.state.prompt }, top: 20 };
    const found = await L.ask(this.props.server, "lens", asked);
    this.setState({ busy: false, error: found.error || null, found: found.error ? null : found });
  };
  rows({ models, names }) {
    const tokens = models[0].rows.at(-1).at(-1);
    const probabilities = tokens.map(([, share]) => share);
    const kept = keptBy(probabilities, this.state.p / 20);
    const row = ([id, share], n) =>
      h(
        "li",
        { class: n < kept ? "" : "cut" },
        h("code", {}, names[id].replace(/ /g, "␣").replace(/\n/g, "↵")),
        h("span", { class: "bar" }, h("i", { style: `width:${((100 * share) / probabilities[0]).toFixed(1)}%` })),
        h("span", { class: "n" }, `${L.num(100 * share, 1)} %`),
      );
    const all = kept === tokens.length;
    const said = t(all ? "lesson_sampler_more" : "lesson_sampler_kept", { n: kept, p: L.num(this.state.p / 20, 2) });
    return [h("p", { role: "status" }, said), h("ol", { class: "sampler" }, tokens.slice(0, 12).map(row))];
  }
  render(_props, { prompt, p, found, error, busy }) {
    const type = (value) => this.setState({ prompt: value }, this.look);
    return h(
      "div",
      {},
      h("label", { class: "lesson-range" }, t("lesson_sampler_text"), L.entry({ value: prompt, onchange: type })),
      range("top-p", p, 20, (value) => this.setState({ p: value }), L.num(p / 20, 2)),
      busy ? h("p", { class: "soft", role: "status" }, t("lesson_computing")) : found ? this.rows(found) : null,
      L.notice(error),
    );
  }
}

export const VIEWS = { start: Start, galore: GaLore, memory: Memory, sampler: Sampler };
