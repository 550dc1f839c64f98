/* Lessons on texts and tokens: the loss in numbers, the template, the mask, data from nothing. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import {
  Asking,
  dataMenu,
  lastChosen,
  Looking,
  modelMenu,
  newest,
  range,
  said,
  text,
  tokens,
  waiting,
} from "./parts.js";
import { TABLES } from "./tables.js";

const TRAINED = ["chat", "text", "classify", "preference"];

/** A record of the visitor's data in numbers, before training and after. */
export class Loss extends Asking {
  state = /** @type {any} */ ({
    things: null,
    data: "",
    place: 0,
    found: null,
    error: null,
    busy: true,
    p: 25,
    model: "starter",
  });
  async componentDidMount() {
    const things = await this.things();
    const model = lastChosen(things, "starter");
    this.look({ data: this.props.data ?? newest(things, this.tasks()), model });
  }
  tasks = () => this.props.tasks || TRAINED;
  look = (change) => {
    const { data, place, model } = { ...this.state, ...change };
    const config = { dataset_id: data || "sample", model_id: model };
    this.setState(change);
    return this.work(async () => {
      const found = await this.ask("numbers", { config, place });
      return found.error ? { error: found.error } : { found };
    });
  };
  numbers() {
    const { found, place } = this.state;
    return [
      h("p", { class: "prompt" }, found.text),
      h(
        "div",
        { class: "learn-table", tabindex: 0, role: "group", "aria-label": t("learn_numbers") },
        TABLES[found.task](found),
      ),
      h("p", { class: "soft" }, t(found.after ? "lesson_both_models" : "learn_no_after")),
      found.places > 1 ? L.button(t("learn_other"), () => this.look({ place: place + 1 }), "quiet") : null,
    ];
  }
  render(_props, { things, data, model, found, error, busy, p }) {
    const share = p / 100;
    return h(
      "div",
      {},
      range(
        t("lesson_loss_p"),
        p,
        100,
        (value) => this.setState({ p: value }),
        `${L.percent(share)} → ${L.num(-Math.log(share), 2)}`,
        1,
      ),
      things ? dataMenu(things, data, (value) => this.look({ data: value, place: 0 }), this.tasks()) : null,
      things ? modelMenu(things, model, (value) => this.look({ model: value })) : null,
      waiting(busy),
      !busy && found ? this.numbers() : null,
      L.notice(error),
    );
  }
}

const messageOf = (content) => [{ role: "user", content }];
const special = (token) => (token.special ? "sp" : "");

/** What a model reads of a message, token by token. */
export class Template extends Looking {
  state = {
    things: null,
    model: "starter",
    message: t("lesson_template_message"),
    found: null,
    error: null,
    busy: true,
  };
  call = "tokens";
  asking({ model, message }) {
    return { model_id: model, messages: messageOf(message) };
  }
  render(_props, { message, found, error, busy }) {
    const own = found?.tokens.filter((token) => !token.special).length;
    return h(
      "div",
      {},
      text(t("lesson_template_typed"), message, (value) => this.look({ message: value })),
      this.models(),
      waiting(busy),
      found ? tokens(found.tokens, special, (token) => String(token.id)) : null,
      found ? h("p", { role: "status" }, t("lesson_template_count", { n: found.tokens.length, own })) : null,
      L.notice(error),
      found && !found.template ? L.notice({ message: t("lesson_template_none"), kind: "info" }) : null,
    );
  }
}

/** Which tokens of a record are trained. */
export class Mask extends Looking {
  state = {
    things: null,
    data: "",
    place: 0,
    records: [],
    on: "response",
    model: "starter",
    found: null,
    error: null,
    busy: true,
  };
  async componentDidMount() {
    const things = await this.things();
    this.choose(newest(things, ["chat"]));
  }
  choose = async (data) => {
    this.setState({ data, place: 0, records: [], busy: true });
    const { records, error } = await this.ask("records", { dataset_id: data, count: 8 });
    if (this.gone || data !== this.state.data) return; // other data was chosen meanwhile
    if (error) return this.setState({ error, busy: false });
    this.setState({ records }, () => this.look({}));
  };
  call = "tokens";
  isReady({ records }) {
    return records.length > 0;
  }
  asking({ records, place, on, model }) {
    const { prompt, answer } = records[place % records.length];
    const messages = [...prompt, { role: "assistant", content: answer }];
    return { model_id: model, messages, loss_on: on };
  }
  render(_props, { things, data, place, on, found, error, busy }) {
    const kind = (token) => `${token.trained ? "tr" : ""} ${special(token)}`;
    const trained = found?.tokens.filter((token) => token.trained).length;
    /** @type {[string, string][]} */
    const options = ["response", "all"].map((each) => [each, t(`lesson_mask_on_${each}`)]);
    return h(
      "div",
      {},
      things ? dataMenu(things, data, this.choose, ["chat"]) : null,
      this.models(),
      L.choice(t("lesson_mask_on"), options, on, (value) => this.look({ on: value })),
      waiting(busy && !found),
      found ? tokens(found.tokens, kind) : null,
      found ? h("p", { role: "status" }, t("lesson_mask_count", { n: trained, of: found.tokens.length })) : null,
      found ? L.button(t("learn_other"), () => this.look({ place: place + 1 }), "quiet") : null,
      L.notice(error),
    );
  }
}

/** Questions that a tuned model writes to nothing, and its answers to them. */
export class Magpie extends Asking {
  state = { things: null, model: "starter", seed: 0, pairs: null, error: null, busy: false };
  componentDidMount() {
    this.things();
  }
  look = (seed) =>
    this.work(async () => {
      const found = await this.ask("questions", { model_id: this.state.model, count: 3, seed });
      return found.error ? { error: found.error, pairs: null } : { pairs: found.pairs, seed };
    });
  render(_props, { things, model, seed, pairs, error, busy }) {
    const one = ({ question, answer }, n) =>
      h(
        "div",
        { class: "lesson-pair", "data-key": n },
        said(t("lesson_magpie_question"), question),
        said(t("lesson_magpie_answer"), answer),
      );
    return h(
      "div",
      {},
      things ? modelMenu(things, model, (value) => this.anew({ model: value, pairs: null })) : null,
      h("p", { class: "prompt" }, t("lesson_magpie_prompt")),
      busy
        ? null
        : L.button(
            t(pairs ? "lesson_magpie_more" : "lesson_magpie_go"),
            () => this.look(pairs ? seed + 3 : 0),
            "strong",
            { id: "lesson-magpie", disabled: !things },
          ),
      waiting(busy),
      pairs && !busy ? pairs.map(one) : null,
      L.notice(error),
    );
  }
}
