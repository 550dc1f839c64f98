/* What lessons show in place, by name: those by hand (GaLore, memory) are here, the others beside. Each is a
   component with {server, open, done}; none knows which lesson it is in. */
import { heat } from "../lib/chart/heat.js";
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";
import { Drift, Forgetting } from "./change-views.js";
import { Arises, Beam, Human, Sampler } from "./decoding-views.js";
import { Hacking } from "./hacking-views.js";
import { Judges } from "./judge-views.js";
import { range } from "./parts.js";
import { Facts, Instructions, Preference, Start } from "./run-views.js";
import { Classify, Pretrain } from "./small-views.js";
import { example, galore } from "./svd.js";
import { Loss, Magpie, Mask, Template } from "./text-views.js";

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

export const VIEWS = {
  start: Start,
  loss: Loss,
  pretrain: Pretrain,
  galore: GaLore,
  memory: Memory,
  sampler: Sampler,
  beam: Beam,
  human: Human,
  arises: Arises,
  classify: Classify,
  template: Template,
  mask: Mask,
  magpie: Magpie,
  instructions: Instructions,
  judges: Judges,
  facts: Facts,
  preference: Preference,
  hacking: Hacking,
  forgetting: Forgetting,
  drift: Drift,
};
