/* The panes: one card a lane, drawn from a trace. Draws only what changed; tells what the pointer and keys do through
 `hooks` {card(pane, index, span, how), leave(), reply(lane), copy(lane), prefer(pane, button), rate(lane's id, thumb)}.
 */
import { candidates } from "./candidates.js";
import { forbiddenLine } from "./constraints.js";
import { figure, h, inUnits, number, percent, shape, svg, t } from "./dom.js";
import { penaltyParts } from "./penalties.js";
import { RARE, rareParts, rareValues } from "./rare-lanes.js";
import { thumbs } from "./thumbs.js";

const STRATEGIES = ["greedy", "top_k", "top_p", "beam", "min_p", "sample", ...RARE];
const KEPT_IN_GRID = ["perplexity", "distinct_2", "loop", "tokens", "score"];
const CHOICES = [
  "speculative",
  "contrastive",
  "dola",
  "best_of_n",
  "self_consistency",
  "mbr",
  "diverse_beam",
  "stochastic_beam",
];
const CAPTION = {
  greedy: "spark_choice",
  top_k: "spark_mass",
  top_p: "spark_kept",
  min_p: "spark_kept",
  sample: "spark_choice",
  beam: "spark_choice",
  ...Object.fromEntries(RARE.map((strategy) => [strategy, CHOICES.includes(strategy) ? "spark_choice" : "spark_kept"])),
};

export function settingsText(info) {
  return [...ownParts(info), ...penaltyParts(info)].join(" · ");
}

function ownParts(info) {
  const parts = [];
  if (info.strategy === "greedy") return parts;
  if (info.num_beams !== undefined) {
    parts.push(t("set_beams", { n: info.num_beams }));
    if (info.num_beam_groups)
      parts.push(t("set_groups", { n: info.num_beam_groups, d: number(info.diversity_penalty, 2) }));
    if (info.strategy === "stochastic_beam")
      return [...parts, t("set_temperature", { n: number(info.temperature, 2) })];
    if (info.length_penalty !== 1) parts.push(t("set_penalty", { n: number(info.length_penalty, 2) }));
    if (info.early_stopping !== false) parts.push(t("set_stop", { v: String(info.early_stopping) }));
    return parts;
  }
  if (info.strategy === "contrastive") parts.push("k " + number(info.top_k));
  if (["speculative", "contrastive", "dola"].includes(info.strategy)) return [...parts, ...rareParts(info)];
  parts.push(t("set_temperature", { n: number(info.temperature, 2) }));
  if (info.top_k) parts.push("k " + number(info.top_k));
  if (info.top_p < 1) parts.push("p " + number(info.top_p, 3));
  if (info.min_p) parts.push("min-p " + number(info.min_p, 3));
  if (info.filter_order === "filters_first") parts.push(t("set_filters_first"));
  return [...parts, ...rareParts(info)];
}

function sentence(info) {
  return t("how_" + info.strategy, {
    k: number(info.top_k),
    p: number(100 * (info.top_p || 0), 1),
    m: number(100 * (info.min_p || 0), 1),
    b: number(info.num_beams),
    ...rareValues(info),
  });
}

/* How strongly a token is coloured, 0…1. */
function weight(token, mode) {
  if (mode === "probability") return token.l === null ? 0 : 1 - Math.exp(token.l);
  if (mode === "form") return token.g || 0;
  if (mode === "entropy") return token.e === null ? 0 : Math.min(1, token.e / 6);
  return 0;
}

export const duration = (seconds) =>
  seconds < 1 ? t("ms", { n: number(1000 * seconds) }) : t("s", { n: number(seconds, 1) });

export class LaneCard {
  constructor(lane, trace, hooks) {
    this.lane = lane;
    this.trace = trace;
    this.hooks = hooks;
    this.shown = [];
    this.spans = [];
    this.mode = "none";
    this.differs = null;
    this.build();
  }

  build() {
    const { info } = this.lane;
    const title = laneTitle(info);
    this.text = h("div", {
      class: "text",
      role: "group",
      dir: "auto",
      "aria-label": t("text_of", { lane: title }),
      onkeydown: (event) => this.key(event),
    });
    this.caret = h("span", { class: "caret", "aria-hidden": "true" });
    this.text.append(this.caret);
    this.spark = svg("path", { class: "bars" });
    this.cursor = svg("path", { class: "now" });
    this.sparkRange = h("span");
    this.facts = {};
    const facts = [
      "perplexity",
      "tokens",
      "logprob",
      "speed",
      info.num_beams === undefined ? "rank" : "score",
      "first",
      "distinct_1",
      "distinct_2",
      "loop",
      "stopped",
    ].map((key) => {
      this.facts[key] = h("dd", {}, "–");
      return h(
        "div",
        { class: KEPT_IN_GRID.includes(key) ? "keep" : null },
        h("dt", { title: t("fact_" + key + "_help") }, t("fact_" + key)),
        this.facts[key],
      );
    });
    this.element = h(
      "article",
      { class: "lane", "data-strategy": info.strategy, "data-lane": info.id, "aria-label": title },
      h("h3", {}, shape(info.strategy), h("span", {}, title), h("span", { class: "set" }, settingsText(info))),
      h("p", { class: "how" }, sentence(info)),
      this.text,
      (this.candidates = h("div", {})),
      h(
        "div",
        { class: "foot" },
        svg(
          "svg",
          { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" },
          this.spark,
          this.cursor,
        ),
        h("div", { class: "cap" }, h("span", {}, t(CAPTION[info.strategy])), this.sparkRange),
        h("dl", {}, facts),
        h(
          "div",
          { class: "laneacts" },
          h("button", { type: "button", class: "quiet", onclick: () => this.hooks.copy(this.lane) }, t("copy_text")),
          h("button", { type: "button", class: "quiet", onclick: () => this.hooks.reply(this.lane) }, t("reply")),
          this.hooks.prefer &&
            !this.trace.isRaw &&
            h(
              "button",
              {
                type: "button",
                class: "quiet",
                title: t("prefer_help"),
                onclick: (event) => this.hooks.prefer(this, event.currentTarget),
              },
              t("prefer"),
            ),
          this.hooks.rate && (this.thumbs = thumbs(title, (thumb) => this.hooks.rate(info.id, thumb))),
        ),
      ),
    );
    this.stick = true; // follows the newest token until the reader scrolls up
    this.text.addEventListener(
      "scroll",
      () => {
        this.stick = this.text.scrollTop + this.text.clientHeight > this.text.scrollHeight - 24;
      },
      { passive: true },
    );
    this.text.addEventListener("pointerover", (event) => this.point(event));
    this.text.addEventListener("pointerleave", () => this.hooks.leave());
    this.text.addEventListener("focusin", (event) => this.point(event));
    this.text.addEventListener("focusout", (event) => {
      if (!this.text.contains(event.relatedTarget)) this.hooks.leave();
    });
    this.text.addEventListener("click", (event) => this.point(event, true));
  }

  /* Draws the lane as it was after n steps; `live` while tokens still come. */
  draw(n, live) {
    const state = [
      this.lane.revision,
      Math.min(n, this.lane.length),
      n < this.lane.length,
      live,
      Boolean(this.trace.end),
    ].join();
    if (state === this.drawn) return;
    this.drawn = state;
    const view = this.lane.view(Math.min(n, this.lane.length));
    let same = 0;
    while (
      same < view.length &&
      same < this.shown.length &&
      view[same].i === this.shown[same].i &&
      view[same].s === this.shown[same].s
    )
      same += 1;
    for (const span of this.spans.splice(same)) span.remove();
    const fresh = document.createDocumentFragment();
    for (let index = same; index < view.length; index += 1) {
      const span = this.span(view[index], index);
      this.spans.push(span);
      fresh.append(span);
    }
    this.text.insertBefore(fresh, this.caret);
    this.shown = view;
    if (!this.spans.some((span) => span.tabIndex === 0) && this.spans.length) this.spans[0].tabIndex = 0;
    this.paint(Math.max(0, same - 1));
    if (live && this.stick) this.text.scrollTop = this.text.scrollHeight;
    this.caret.hidden = !(live && !this.lane.end);
    this.element.classList.toggle("busy", Boolean(live && !this.lane.end));
    if (this.thumbs) this.thumbs.hidden = !this.lane.end;
    this.drawSpark(view, n);
    this.drawFacts(view, n);
    this.candidates.replaceChildren(
      ...[candidates(this.lane, () => this.redraw(n, live)), drafts(this.lane.end), forbiddenLine(view)].filter(
        Boolean,
      ),
    );
  }

  /* After another answer was picked: the one that was focused stays focused. */
  redraw(n, live) {
    const at = Array.from(this.candidates.querySelectorAll("button")).indexOf(
      /** @type {HTMLButtonElement} */ (document.activeElement),
    );
    this.hooks.leave();
    this.draw(n, live);
    this.candidates.querySelectorAll("button")[at]?.focus();
  }

  span(token, index) {
    const special = this.trace.special(this.lane.info.model, token.i);
    const span = h("span", { class: "token", "data-index": String(index), tabindex: "-1" }, special ? "" : token.s);
    if (token.s === "") span.classList.add(special ? "ended" : "part");
    if (special) span.append(h("span", { class: "sr" }, t("end_token")));
    if (token.s.includes("\n")) span.classList.add("newline");
    if (token.d) span.classList.add("accepted");
    if (token.x) {
      const wrong = token.x.map((id) => this.trace.name(this.lane.info.model, id)).join("");
      span.classList.add("rejected");
      span.title = t("drafted_wrong", { text: wrong });
    }
    if (token.forked) span.classList.add("forked");
    else if (index < this.lane.prefix.length) span.classList.add("given");
    return span;
  }

  paint(from) {
    for (let index = from || 0; index < this.spans.length; index += 1) {
      const span = this.spans[index];
      const strength = weight(this.shown[index], this.mode);
      span.style.setProperty("--a", this.mode === "none" ? "0" : String(Math.round(46 * strength)));
      span.classList.toggle("differs", Boolean(this.differs && this.differs.has(index)));
    }
  }

  colour(mode) {
    this.mode = mode;
    this.paint();
  }
  mark(indexes) {
    this.differs = indexes;
    this.paint();
  }

  drawSpark(view, n) {
    const { strategy } = this.lane.info;
    const own = view.slice(this.lane.prefix.length);
    const kept = CAPTION[strategy] === "spark_kept";
    const values = own.map((token) =>
      kept ? token.k : strategy === "top_k" ? token.m : token.l === null ? 0 : Math.exp(token.l),
    );
    const top = kept ? Math.log2(1 + Math.max(1, ...values)) : 1;
    const width = 100 / Math.max(24, values.length);
    let path = "";
    values.forEach((value, index) => {
      const height = Math.max(1, 28 * ((kept ? Math.log2(1 + value) : value) / top));
      path += `M${(index * width).toFixed(2)} 30v${(-height).toFixed(2)}h${(width * 0.78).toFixed(2)}V30z`;
    });
    this.spark.setAttribute("d", path);
    const behind = n < this.lane.length;
    this.cursor.setAttribute("d", behind && values.length ? `M${(values.length * width).toFixed(2)} 0V30` : "");
    const low = Math.min(...values);
    const high = Math.max(...values);
    this.sparkRange.textContent = !values.length
      ? ""
      : kept
        ? `${number(low)} – ${number(high)}`
        : `${percent(low)} – ${inUnits(percent(high), "%")}`;
  }

  drawFacts(view, n) {
    const own = view.slice(this.lane.prefix.length);
    const known = own.filter((token) => token.l !== null && token.l !== undefined);
    const mean = known.length ? known.reduce((sum, token) => sum + token.l, 0) / known.length : null;
    const end = n >= this.lane.length ? this.lane.end : null;
    const { model } = this.lane.info;
    const time = this.trace.time(Math.min(n, this.lane.length) - 1, model);
    const speed = end ? end.tokens_per_second : time ? own.length / time : null;
    const set = (key, text) => {
      if (this.facts[key] && this.facts[key].textContent !== text) this.facts[key].textContent = text;
    };
    set("perplexity", mean === null ? "–" : figure(Math.exp(-mean), 2));
    set("logprob", mean === null ? "–" : figure(mean, 2));
    set("tokens", number(own.length));
    set(
      "speed",
      speed === null || speed === undefined ? "–" : t("per_second", { n: number(speed, speed < 10 ? 1 : 0) }),
    );
    const first = this.lane.end ? this.lane.end.first_token_seconds : this.trace.time(0, model);
    set("first", first === null ? "–" : duration(first));
    const metrics = end ? end.metrics : null;
    set("distinct_1", metrics ? figure(metrics.distinct_1, 2) : "–");
    set("distinct_2", metrics ? figure(metrics.distinct_2, 2) : "–");
    set("loop", !metrics ? "–" : metrics.loop ? t("loop_is", { n: metrics.loop.times }) : t("loop_none"));
    this.facts.loop.title = metrics && metrics.loop ? t("loop_length", { m: metrics.loop.length }) : "";
    const ranks = own.filter((token) => token.r !== undefined).map((token) => token.r);
    set("rank", ranks.length ? figure(1 + ranks.reduce((sum, rank) => sum + rank, 0) / ranks.length, 1) : "–");
    set(
      "score",
      end && end.score !== undefined
        ? figure(end.score, 3)
        : own.length && own[own.length - 1].score !== undefined
          ? figure(own[own.length - 1].score / own.length ** (this.lane.info.length_penalty ?? 0), 3)
          : "–",
    );
    set("stopped", end ? t("by_" + end.finish_reason) : this.trace.end && n >= this.lane.length ? t("by_you") : "–");
  }

  point(event, pinned) {
    const span = event.target.closest(".token");
    if (!span || !this.text.contains(span)) return;
    if (event.type === "focusin") this.rove(span);
    this.hooks.card(
      this,
      Number(span.dataset.index),
      span,
      pinned ? "pin" : event.type === "focusin" ? "focus" : "point",
    );
  }

  rove(span) {
    for (const other of this.spans) if (other.tabIndex === 0 && other !== span) other.tabIndex = -1;
    span.tabIndex = 0;
  }

  key(event) {
    const at = this.spans.indexOf(document.activeElement);
    if (at < 0) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    let to = step ? at + step : event.key === "Home" ? 0 : event.key === "End" ? this.spans.length - 1 : -1;
    while (step && this.spans[to] && this.spans[to].classList.contains("part")) to += step;
    if ((step || event.key === "Home" || event.key === "End") && this.spans[to]) {
      event.preventDefault();
      this.spans[to].focus();
    } else if (event.key === "Enter" || event.key === " " || event.key === "ArrowDown") {
      event.preventDefault();
      this.hooks.card(this, at, this.spans[at], "pin");
    }
  }
}

/* How many tokens a forward of a speculative lane settled. */
const drafts = (end) =>
  end?.drafted
    ? h(
        "p",
        { class: "how" },
        t("drafts", {
          n: number(end.metrics.tokens / end.forwards, 2),
          right: number(end.accepted),
          all: number(end.drafted),
        }),
      )
    : null;

/** What a lane is called: its own name, or its strategy's. */
export const laneTitle = ({ name }) => (STRATEGIES.includes(name) ? t("name_" + name) : name);
