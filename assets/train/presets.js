/* Models that people use, where a model is chosen: as published, and what each takes here before a byte is fetched.
   Asks for the costs one after another, and again when the settings that they follow from change. */
import { bytesForetold, h, int, num, percent, t, timeRange } from "../lib/panel.js";
import { Component } from "../lib/view.js";
import { architecture } from "./architecture.js";

const METHODS = ["galore", "adamw", "lora"];

/** 134515008 → 135 M. @param {number} n */
export const short = (n) => {
  const [size, unit] = [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
  ].find(([unitSize]) => n >= /** @type {number} */ (unitSize) * 0.9995) || [1e3, "k"];
  const value = n / /** @type {number} */ (size);
  return `${num(value, value < 10 ? 1 : 0).replace(/[.,]0$/, "")} ${unit}`;
};

/** What a cost says in a line: whether it fits, or by how much not. */
export const verdict = (cost) => {
  if (!cost) return t("preset_counting");
  if (cost.error) return cost.error;
  if (cost.fits) return t("preset_fits", { need: bytesForetold(cost.bytes) });
  return t("preset_short", { need: bytesForetold(cost.bytes), short: bytesForetold(cost.short_by) });
};

export class Presets extends Component {
  state = { all: null, error: null, costs: {}, open: null, picture: null };
  gone = false;
  round = 0;

  componentDidMount() {
    this.load();
  }
  componentDidUpdate(before) {
    if (!this.state.all) return;
    if (before.follows !== this.props.follows) {
      this.setState({ costs: {} });
      setTimeout(() => this.count());
    } else if (before.method !== this.props.method) this.count();
  }
  componentWillUnmount() {
    this.gone = true;
  }

  async load() {
    const answer = await this.props.ask("presets");
    if (this.gone) return;
    // The state is there only once it is drawn.
    this.setState({ all: answer.presets || [], error: answer.error || null }, () => answer.error || this.count());
  }

  // One at a time: each lays a model out, and the page shows what is known.
  async count() {
    const mine = ++this.round;
    const { method } = this.props;
    for (const { id } of this.state.all) {
      if (!this.state.costs[id]?.[method]) await this.ask(id, [method]);
      if (this.gone || mine !== this.round) return;
    }
  }

  async ask(id, methods) {
    const { follows } = this.props;
    const answer = await this.props.ask("preset_costs", { id, methods, config: this.props.config() });
    if (this.gone || follows !== this.props.follows) return;
    const failed = Object.fromEntries(methods.map((method) => [method, { error: answer.error?.message }]));
    const found = answer.methods || failed;
    this.setState((state) => ({ costs: { ...state.costs, [id]: { ...state.costs[id], ...found } } }));
  }

  async look(id) {
    this.setState({ open: this.state.open === id ? null : id, picture: null });
    if (this.state.open === id) return;
    const picture = await this.props.ask("architecture", { model_id: id });
    if (this.gone || this.state.open !== id) return;
    this.setState({ picture });
    const missing = METHODS.filter((method) => !this.state.costs[id]?.[method]);
    if (missing.length) this.ask(id, missing);
  }

  details(preset, costs) {
    const { picture } = this.state;
    const shape = t("preset_shape", {
      layers: int(preset.layers),
      heads: int(preset.heads),
      kv: int(preset.kv_heads),
      width: int(preset.width),
      context: int(preset.context),
      vocabulary: int(preset.vocabulary),
    });
    const sources = [...new Set(Object.values(preset.sources))].join(" · ");
    const costLine = (method) => h("li", {}, `${t(`method_${method}`)}: ${verdict(costs?.[method])}`);
    return h(
      "div",
      { class: "preset-more" },
      h("p", {}, shape),
      h("p", {}, t("preset_pretrained", { tokens: short(preset.tokens), data: preset.data })),
      h("p", { class: "soft" }, t("preset_source", { licence: preset.licence, sources })),
      h("ul", {}, METHODS.map(costLine)),
      picture?.error ? h("p", { class: "soft" }, picture.error.message) : picture ? architecture(picture) : null,
    );
  }

  row(preset) {
    const { open, costs } = this.state;
    const { method, busy, take } = this.props;
    const cost = costs[preset.id]?.[method];
    const wide = open === preset.id;
    const action = () => take(preset.id);
    return h(
      "li",
      { class: "preset", "data-key": preset.id },
      h(
        "button",
        { type: "button", class: "preset-name", "aria-expanded": String(wide), onclick: () => this.look(preset.id) },
        h("b", {}, preset.title),
        h("span", { class: "soft" }, ` ${short(preset.parameters)}`),
      ),
      h("span", { class: `preset-cost ${cost && !cost.fits ? "much" : ""}` }, verdict(cost)),
      h("span", { class: "soft preset-time" }, cost?.seconds ? timeRange(cost) : ""),
      preset.gated && !preset.ready
        ? h("span", { class: "soft preset-act" }, t("preset_gated"))
        : h(
            "button",
            { type: "button", class: "btn preset-act", disabled: busy, onclick: action },
            t(preset.ready ? "preset_use" : "preset_fetch"),
          ),
      wide ? this.details(preset, costs[preset.id]) : null,
    );
  }

  render({ method }, { all, error, costs }) {
    if (error) return h("p", { class: "soft" }, error.message);
    if (!all) return h("p", { class: "soft" }, t("preset_counting"));
    const families = [...new Set(all.map((each) => each.family))];
    const done = all.filter((each) => costs[each.id]?.[method]).length / Math.max(1, all.length);
    return h(
      "div",
      { class: "presets" },
      h(
        "p",
        { class: "soft small" },
        t("preset_intro", { method: t(`method_${method}`) }),
        done < 1 ? ` ${t("preset_progress", { share: percent(done) })}` : "",
      ),
      families.map((family) => {
        const members = all.filter((each) => each.family === family);
        return h(
          "section",
          { "data-key": family },
          h("h3", {}, family, h("span", { class: "soft" }, ` ${members[0].licence}`)),
          h("ul", {}, members.map(this.row, this)),
        );
      }),
    );
  }
}
