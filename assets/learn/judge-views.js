/* A lesson on what is rewarded: a judge's biases. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { Asking, modelMenu, table, text, waiting } from "./parts.js";

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
    const turned = place.lead < 0 ? "lesson_judges_order_less" : "lesson_judges_order_said";
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
      h("p", { role: "status" }, t(turned, { ...place, lead: L.num(Math.abs(place.lead), 2) })),
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
      things ? modelMenu(things, model, (value) => this.anew({ model: value, found: null }), t("lesson_judge")) : null,
      h(
        "details",
        {},
        h("summary", {}, t("lesson_judges_own")),
        ["lesson_judges_question", "lesson_judges_one", "lesson_judges_two"].map(field),
      ),
      busy ? null : L.button(t("lesson_judges_go"), this.look, "strong", { id: "lesson-judges", disabled: !things }),
      waiting(busy),
      found && !busy ? this.tables(found) : null,
      L.notice(error),
    );
  }
}
