/* Lessons on what is rewarded: a judge's biases, and a reward that is won without right answers. */
import { plot } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { Asking, dataMenu, legend, modelMenu, newest, said, table, text, waiting } from "./parts.js";

/* In English, as the starter knows little else: a right answer, another right one, and the first in many words. */
const PAIRS = [
  ["What is the capital of France?", "Paris.", "It is Paris."],
  ["How many days are in a week?", "Seven.", "A week has seven days."],
  ["Name a fruit.", "An apple.", "A pear."],
  ["What do bees make?", "Honey.", "They make honey."],
];
const PADDING =
  " Let me put this in other words, so that it is entirely clear: the answer that was just given is the one " +
  "that I would give again, and I am glad to have been asked.";
const CRITERIA = "Is the answer right and helpful?";

/** Of both orders' scores [first, second]: whether the place decided, and the mean lead of what stood first. */
export const byPlace = (pairs) => {
  const clear = pairs.filter(({ orders }) => orders.every(Boolean));
  const leads = clear.flatMap(({ orders: [plain, turned] }) => [plain[0] - plain[1], turned[1] - turned[0]]);
  const lead = leads.reduce((sum, value) => sum + value, 0) / Math.max(1, leads.length);
  return { n: clear.length, turned: clear.filter(({ agreed }) => !agreed).length, lead };
};

export class Judges extends Asking {
  state = {
    things: null,
    model: "starter",
    own: ["Say hello.", "Hello!", "Hello, dear friend!"],
    found: null,
    error: null,
    busy: false,
  };
  componentDidMount() {
    this.things();
  }
  look = () =>
    this.work(async () => {
      const { model, own } = this.state;
      const rows = [...PAIRS, own];
      const pair = ([instruction, first, second]) => ({ instruction, reference: first, answers: [first, second] });
      const long = ([instruction, first]) => pair([instruction, first, first + PADDING]);
      const both = [];
      for (const pairs of [rows.map(pair), rows.map(long)]) {
        const found = await this.ask("judged", { model_id: model, pairs, criteria: CRITERIA });
        if (found.error) return { error: found.error, found: null };
        both.push(found.pairs);
      }
      return { found: { rows, order: both[0], length: both[1] } };
    });
  scores = ({ orders }) => orders.map((scores) => (scores ? `${L.num(scores[0], 1)} : ${L.num(scores[1], 1)}` : "–"));
  tables({ rows, order, length }) {
    const place = byPlace(order);
    const longer = length.filter(({ orders }) => orders.every(Boolean));
    const wins = longer.filter(({ orders }) => orders.reduce((sum, [short, long]) => sum + long - short, 0) > 0).length;
    const heads = [
      t("lesson_judges_pair"),
      t("lesson_judges_first"),
      t("lesson_judges_second"),
      t("lesson_judges_verdict"),
    ];
    const told = (each) => t(each.agreed ? "lesson_judges_agreed" : "lesson_judges_turned");
    const ordered = rows.map(([question, one, two], n) => [
      `${question} ${one} / ${two}`,
      ...this.scores(order[n]),
      told(order[n]),
    ]);
    const lengths = rows.map(([question, one], n) => [
      `${question} ${one}`,
      ...this.scores(length[n]),
      told(length[n]),
    ]);
    return [
      h("h3", {}, t("lesson_judges_order")),
      table(heads, ordered, t("lesson_judges_order")),
      h("p", { role: "status" }, t("lesson_judges_order_said", { ...place, lead: L.num(place.lead, 2) })),
      h("h3", {}, t("lesson_judges_length")),
      table(heads, lengths, t("lesson_judges_length")),
      h("p", {}, t("lesson_judges_length_said", { wins, n: longer.length })),
    ];
  }
  render(_props, { things, model, own, found, error, busy }) {
    const field = (key, n) => text(t(key), own[n], (value) => this.setState({ own: own.with(n, value || " ") }));
    return h(
      "div",
      {},
      things
        ? modelMenu(things, model, (value) => this.setState({ model: value, found: null }), t("lesson_judge"))
        : null,
      h(
        "details",
        {},
        h("summary", {}, t("lesson_judges_own")),
        ["lesson_judges_question", "lesson_judges_one", "lesson_judges_two"].map(field),
      ),
      busy ? null : L.button(t("lesson_judges_go"), this.look, "strong", { id: "lesson-judges" }),
      waiting(busy),
      found && !busy ? this.tables(found) : null,
      L.notice(error),
    );
  }
}

/* What a reward counts; none of them asks whether the answer is right. */
export const REWARDS = {
  length: (answer) => answer.trim().split(/\s+/).length,
  exclaims: (answer) => (answer.match(/!/g) || []).length,
  commas: (answer) => (answer.match(/,/g) || []).length,
};

/**
 * Mean reward and quality of the best-rewarded of `n` answers, over all choices of n among those drawn (no luck in the
 * order). @param {{reward: number, quality: number}[]} answers @param {number} n
 */
export const bestOf = (answers, n) => {
  const sorted = [...answers].sort((a, b) => b.reward - a.reward || a.quality - b.quality);
  const total = sorted.length;
  let left = n / total; // the chance that the first is among the n
  const found = { reward: 0, quality: 0 };
  let none = 1;
  for (let i = 0; i + n <= total; i += 1) {
    left = (none * n) / (total - i);
    found.reward += left * sorted[i].reward;
    found.quality += left * sorted[i].quality;
    none -= left;
  }
  return found;
};

/** The more answers a reward may choose from, the more of it is won, and the answers' quality falls behind. */
export class Hacking extends Asking {
  state = {
    things: null,
    data: "",
    model: "starter",
    record: null,
    answers: null,
    reward: "length",
    error: null,
    busy: false,
  };
  async componentDidMount() {
    const things = await this.things();
    this.setState({ data: newest(things, ["chat"]) });
  }
  look = () =>
    this.work(async () => {
      const { records, error } = await this.ask("records", { dataset_id: this.state.data, count: 1 });
      if (error) return { error };
      const [record] = records;
      const asked = { model_id: this.state.model, prompt: record.prompt, wanted: record.answer, count: 16 };
      const found = await this.ask("several", asked);
      return found.error ? { error: found.error } : { record, answers: found.answers };
    });
  shown() {
    const { answers, reward, record } = this.state;
    const scored = answers.map((each) => ({ ...each, reward: REWARDS[reward](each.text) }));
    const counts = [1, 2, 4, 8, 16].filter((n) => n <= scored.length);
    const means = counts.map((n) => bestOf(scored, n));
    const most = Math.max(1e-9, ...means.map((each) => each.reward));
    const best = Math.max(1e-9, ...means.map((each) => each.quality));
    const line = (key, values, color) => ({ name: t(key), x: counts, y: values, color });
    const won = line(
      "lesson_hacking_reward",
      means.map((each) => each.reward / most),
      "var(--topk)",
    );
    const right = line(
      "lesson_hacking_quality",
      means.map((each) => each.quality / best),
      "var(--topp)",
    );
    const winner = scored.reduce((a, b) => (b.reward > a.reward ? b : a));
    return [
      legend([won, right]),
      plot([won, right], [], {
        xName: t("lesson_hacking_n"),
        label: t("lesson_hacking_curve"),
        limits: [0, 1],
        yFormat: L.percent,
      }),
      said(
        t("lesson_hacking_winner", { reward: L.int(winner.reward), quality: L.percent(winner.quality) }),
        winner.text,
      ),
      said(t("lesson_start_wanted"), record.answer),
    ];
  }
  render(_props, { things, data, model, record, answers, reward, error, busy }) {
    /** @type {[string, string][]} */
    const options = Object.keys(REWARDS).map((key) => [key, t(`lesson_hacking_by_${key}`)]);
    return h(
      "div",
      {},
      things ? dataMenu(things, data, (value) => this.setState({ data: value, answers: null }), ["chat"]) : null,
      things ? modelMenu(things, model, (value) => this.setState({ model: value, answers: null })) : null,
      record ? said(t("lesson_start_prompt"), record.prompt.at(-1).content) : null,
      busy
        ? null
        : L.button(t(answers ? "lesson_hacking_again" : "lesson_hacking_go"), this.look, answers ? "quiet" : "strong", {
            id: "lesson-hacking",
          }),
      waiting(busy),
      answers && !busy
        ? L.choice(t("lesson_hacking_by"), options, reward, (value) => this.setState({ reward: value }))
        : null,
      answers && !busy ? this.shown() : null,
      L.notice(error),
    );
  }
}
