/* Lessons on decoding: what the sampler keeps, what beams find, how surprising each strategy's text is and which one
   people like, where in the layers a token arises. */
import { plot } from "../lib/chart/lines.js";
import { scatter } from "../lib/chart/scatter.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { SHAPES } from "../lib/strategies.js";
import { LensMap } from "./lens-map.js";
import {
  Asking,
  lastChosen,
  legend,
  Looking,
  modelMenu,
  aRun,
  range,
  said,
  table,
  text,
  visible,
  waiting,
  wide,
} from "./parts.js";

const nameOf = (strategy) => t(`arena_name_${strategy}`);
const sum = (values) => values.reduce((all, value) => all + value, 0);

/** How many of these falling probabilities top-p keeps: the smallest set whose sum reaches p. */
export const keptBy = (probabilities, p) => {
  let all = 0;
  for (let n = 0; n < probabilities.length; n += 1) {
    all += probabilities[n];
    if (all >= p - 1e-9) return n + 1;
  }
  return probabilities.length;
};

export class Sampler extends Looking {
  state = {
    things: null,
    model: "starter",
    prompt: t("lesson_sampler_prompt"),
    p: 10,
    found: null,
    error: null,
    busy: true,
  };
  call = "lens";
  asking({ model, prompt }) {
    return { model_id: model, prompt: { raw: prompt }, top: 20 };
  }
  rows({ models, names }) {
    const tokens = models[0].rows.at(-1).at(-1);
    const probabilities = tokens.map(([, share]) => share);
    const kept = keptBy(probabilities, this.state.p / 20);
    const row = ([id, share], n) =>
      h(
        "li",
        { class: n < kept ? "" : "cut" },
        h("code", {}, visible(names[id])),
        h("span", { class: "bar" }, h("i", { style: `width:${((100 * share) / probabilities[0]).toFixed(1)}%` })),
        h("span", { class: "n" }, L.percent(share, 1)),
      );
    const all = kept === tokens.length;
    const told = t(all ? "lesson_sampler_more" : "lesson_sampler_kept", { n: kept, p: L.num(this.state.p / 20, 2) });
    return [h("p", { role: "status" }, told), h("ol", { class: "sampler" }, tokens.slice(0, 12).map(row))];
  }
  render(_props, { prompt, p, found, error, busy }) {
    return h(
      "div",
      {},
      text(t("lesson_sampler_text"), prompt, (value) => this.look({ prompt: value })),
      this.models(),
      range("top-p", p, 20, (value) => this.setState({ p: value }), L.num(p / 20, 2)),
      waiting(busy && !found),
      found ? this.rows(found) : null,
      L.notice(error),
    );
  }
}

const loopOf = (lane) => (lane.metrics?.loop ? t("lesson_loops", lane.metrics.loop) : t("lesson_no_loop"));

/** Whether beam search found a likelier text than greedy search, which it need not. */
const likelier = ({ greedy, beam }) => {
  const [own, other] = [sum(beam.logprobs), sum(greedy.logprobs)];
  const key = beam.text === greedy.text ? "same" : own > other ? "more" : "less";
  return t(`lesson_beam_${key}`, { beam: L.num(own, 1), greedy: L.num(other, 1) });
};

/** Greedy and beam search on one prompt: which text is likelier, and which one repeats itself. */
export class Beam extends Looking {
  state = { things: null, model: "starter", prompt: t("lesson_beam_prompt"), found: null, error: null, busy: true };
  call = "answers";
  asking({ model, prompt }) {
    const asked = { model_id: model, prompt, lanes: ["greedy", "beam", "top_p"], max_new_tokens: 64 };
    return asked;
  }
  render(_props, { prompt, found, error, busy }) {
    const lanes = found?.lanes;
    const rows = lanes
      ? Object.entries(lanes).map(([name, lane]) => [
          nameOf(name),
          L.num(sum(lane.logprobs), 1),
          L.num(lane.metrics.mean_logprob, 2),
          loopOf(lane),
        ])
      : [];
    return h(
      "div",
      {},
      text(t("lesson_prompt"), prompt, (value) => this.look({ prompt: value })),
      this.models(),
      waiting(busy),
      lanes && !busy
        ? Object.entries(lanes).map(([name, lane]) => said(nameOf(name), lane.text, { "data-strategy": name }))
        : null,
      lanes && !busy
        ? [
            table(
              ["", t("lesson_log_p"), t("lesson_log_p_token"), t("lesson_repetition")],
              rows,
              t("lesson_beam_title"),
            ),
            h("p", { role: "status" }, likelier(lanes)),
          ]
        : null,
      L.notice(error),
    );
  }
}

/** Wilson's 95 % interval of `wins` out of `n`. */
export const wilson = (wins, n) => {
  if (!n) return [0, 1];
  const [z, p] = [1.96, wins / n];
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
};

/**
 * What the rounds so far say of each strategy: {wins, rounds, perplexity}.
 * @param {{lanes: any, picked: string}[]} rounds
 */
export const talliedBy = (rounds) => {
  /** @type {Record<string, {wins: number, rounds: number, logs: number}>} */
  const found = {};
  for (const { lanes, picked } of rounds)
    for (const [name, lane] of Object.entries(lanes)) {
      const each = (found[name] ||= { wins: 0, rounds: 0, logs: 0 });
      each.wins += Number(name === picked);
      each.rounds += 1;
      each.logs += -(lane.metrics.mean_logprob ?? 0);
    }
  return Object.entries(found).map(([strategy, { wins, rounds: n, logs }]) => ({
    strategy,
    wins,
    rounds: n,
    perplexity: Math.exp(logs / n),
  }));
};

const JUDGED = ["greedy", "top_k", "top_p", "sample", "beam"];

/**
 * Perplexity against one's own judgement, strategy by strategy, blind (Holtzman et al.), and one's own text beside
 * them.
 */
export class Human extends Asking {
  state = {
    things: null,
    model: "starter",
    prompt: t("lesson_human_prompt"),
    own: "",
    order: null,
    lanes: null,
    picked: null,
    rounds: [],
    surprise: null,
    error: null,
    busy: false,
  };
  componentDidMount() {
    this.things();
  }
  look = () =>
    this.work(async () => {
      const { model, prompt, rounds } = this.state;
      const asked = { model_id: model, prompt, lanes: JUDGED, max_new_tokens: 40, seed: 7 + rounds.length };
      const found = await this.ask("answers", asked);
      if (found.error) return { error: found.error };
      const order = Object.keys(found.lanes)
        .map((name) => [Math.random(), name])
        .sort()
        .map(([, name]) => name);
      return { lanes: found.lanes, order, picked: null, surprise: null };
    });
  pick = (picked) => this.setState(({ rounds, lanes }) => ({ picked, rounds: [...rounds, { lanes, picked }] }));
  write = (own) => {
    this.setState({ own });
    if (!own.trim()) return null;
    return this.work(async () => {
      const { model, prompt } = this.state;
      const found = await this.ask("surprises", { model_id: model, texts: [{ prompt, answer: own }] });
      return found.error ? { error: found.error } : { surprise: found.texts[0] };
    });
  };
  blind() {
    return this.state.order.map((name, n) => [
      said(t("lesson_human_text", { n: n + 1 }), this.state.lanes[name].text),
      L.button(t("lesson_human_pick", { n: n + 1 }), () => this.pick(name), "quiet"),
    ]);
  }
  curve() {
    const { lanes, surprise } = this.state;
    const line = (name, values, color) => ({ name, x: values.map((_, n) => n + 1), y: values, color });
    const lines = [line(nameOf("beam"), lanes.beam.logprobs.map(Math.exp), "var(--beam)")];
    if (surprise)
      lines.push(
        line(
          t("lesson_human_own"),
          surprise.tokens.map((token) => Math.exp(-token.surprise)),
          "var(--ink)",
        ),
      );
    return [
      legend(lines),
      plot(lines, [], {
        xName: t("lesson_token"),
        label: t("lesson_human_curve"),
        limits: [0, 1],
        title: t("lesson_human_curve"),
      }),
    ];
  }
  revealed() {
    const { order, lanes, picked, rounds, own, surprise } = this.state;
    const rows = order.map((name) => [
      `${nameOf(name)}${name === picked ? ` ✓` : ""}`,
      L.num(lanes[name].metrics.perplexity, 1),
      loopOf(lanes[name]),
    ]);
    if (surprise) rows.push([t("lesson_human_own"), L.num(Math.exp(surprise.mean), 1), ""]);
    const points = talliedBy(rounds).map(({ strategy, wins, rounds: n, perplexity }) => {
      const [low, high] = wilson(wins, n);
      const name = nameOf(strategy);
      const about = `${name}: ${L.num(perplexity, 1)}, ${wins}/${n}`;
      return {
        x: perplexity,
        y: wins / n,
        low,
        high,
        strategy,
        path: SHAPES[strategy],
        name,
        pale: false,
        text: about,
      };
    });
    return [
      table(["", t("lesson_perplexity"), t("lesson_repetition")], rows, t("lesson_human_title")),
      wide(
        t("lesson_human_figure"),
        scatter({ points, xName: t("lesson_perplexity"), label: t("lesson_human_figure") }),
      ),
      h("p", { class: "soft" }, t("lesson_human_rounds", { n: rounds.length })),
      text(t("lesson_human_write"), own, this.write),
      this.curve(),
      L.button(t("lesson_human_again"), this.look, "quiet"),
    ];
  }
  render(_props, { things, model, prompt, lanes, picked, error, busy }) {
    const type = (value) => this.anew({ prompt: value, lanes: null });
    return h(
      "div",
      {},
      text(t("lesson_prompt"), prompt, type),
      things ? modelMenu(things, model, (value) => this.anew({ model: value, lanes: null, rounds: [] })) : null,
      lanes || busy
        ? null
        : L.button(t("lesson_human_go"), this.look, "strong", { id: "lesson-human", disabled: !things }),
      waiting(busy),
      lanes && !picked && !busy ? this.blind() : null,
      lanes && picked ? this.revealed() : null,
      L.notice(error),
    );
  }
}

/** Layers × positions, the base beside a run, on a text of one's own. */
export class Arises extends Looking {
  state = { things: null, model: null, prompt: t("lesson_sampler_prompt"), found: null, error: null, busy: true };
  first(things) {
    return lastChosen(things, aRun(things) || "starter");
  }
  call = "lens";
  asking({ things, model, prompt }) {
    const beside = things.models.find((each) => each.id === model)?.kind === "run" ? "base" : "";
    const asked = { model_id: model, prompt: { raw: prompt }, beside, window: 8, top: 3 };
    return asked;
  }
  render(_props, { things, prompt, found, error, busy }) {
    return h(
      "div",
      {},
      text(t("lesson_sampler_text"), prompt, (value) => this.look({ prompt: value })),
      this.models(),
      things && !aRun(things) ? h("p", { class: "soft" }, t("lesson_arises_alone")) : null,
      waiting(busy),
      found && !busy ? h(LensMap, { found }) : null,
      L.notice(error),
    );
  }
}
