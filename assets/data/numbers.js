/* A data set in numbers: records, tokens, lengths, labels, and what the loss is on. `page` is the data panel's
   state. */
import * as L from "../lib/panel.js";
import { h, s, t } from "../lib/panel.js";

const LABELS_SHOWN = 12;

export const numbers = (page) => {
  const { info } = page.report,
    stats = page.stats;
  const row = (name, value) =>
    value === null || value === undefined ? null : h("tr", {}, h("td", {}, name), h("td", { class: "n" }, value));
  const tokens = info.tokens,
    mix = stats?.languages
      ?.filter((each) => each.share >= 0.01)
      .slice(0, 4)
      .map((each) => `${language(each.language)} ${L.percent(each.share)}`)
      .join(", "),
    cost = page.cost;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_numbers")),
    h(
      "table",
      { class: "facts wide" },
      h(
        "tbody",
        {},
        row(t("data_n_format"), [info.format, info.shape].filter(Boolean).join(" · ")),
        row(t("data_n_records"), L.int(info.rows)),
        row(t("data_n_kept"), L.int(info.kept)),
        tokens
          ? [
              row(t("data_n_tokens"), L.int(tokens.total)),
              info.task === "classify"
                ? null
                : row(
                    t("data_n_trained"),
                    `${L.int(tokens.trained)} (${L.percent(tokens.trained / Math.max(1, tokens.total))})`,
                  ),
              row(t("data_n_mean"), L.int(tokens.mean)),
              row(t("data_n_longest"), L.int(tokens.longest)),
              tokens.cut ? row(t("data_n_cut", { n: L.int(tokens.max_length) }), L.int(tokens.cut)) : null,
              tokens.hidden ? row(t("data_n_hidden"), L.int(tokens.hidden)) : null,
            ]
          : null,
        stats?.vocabulary
          ? row(t("data_n_vocabulary"), `${L.int(stats.vocabulary.used)} (${L.percent(stats.vocabulary.share)})`)
          : null,
        stats?.vocabulary
          ? [
              row(t("data_n_unknown"), L.int(stats.vocabulary.unknown)),
              row(
                t("data_n_bytes"),
                `${L.int(stats.vocabulary.bytes)} (${L.percent(stats.vocabulary.bytes_share, 1)})`,
              ),
            ]
          : null,
        mix ? row(t("data_n_languages"), mix) : null,
        stats ? row(t("data_n_held_out"), L.int(stats.held_out)) : null,
        cost
          ? [
              row(t("data_n_epoch"), L.timeRange(cost)),
              row(t("data_n_memory"), t("data_n_about", { time: L.bytesForetold(cost.memory_bytes) })),
            ]
          : null,
        info.version > 1 ? row(t("data_n_version"), `${info.version}`) : null,
      ),
    ),
    info.change ? h("p", { class: "cap" }, info.change) : null,
    stats?.histogram?.bars.length > 1 ? histogram(stats.histogram) : null,
  );
};
const sizes = (counts) => Object.entries(counts || {}).sort((a, b) => b[1] - a[1]);
const total = (counts) => counts.reduce((sum, [, n]) => sum + n, 0);
// Shares of the records as bars, the largest first: [[name, count], …].
const shares = (counts) => {
  const shown = counts.slice(0, LABELS_SHOWN),
    all = total(counts);
  return [
    h(
      "div",
      { class: "shares" },
      shown.map(([name, n]) =>
        h(
          "div",
          { title: `${name}: ${L.int(n)}` },
          h("span", {}, L.clip(name, 40)),
          h("span", { class: "track" }, h("i", { style: `width:${((100 * n) / counts[0][1]).toFixed(1)}%` })),
          h("em", {}, L.percent(n / all)),
        ),
      ),
    ),
    counts.length > shown.length
      ? h("p", { class: "cap block" }, t("data_labels_more", { n: L.int(counts.length - shown.length) }))
      : null,
  ];
};
// The kinds that a column tells, and that each is held out in its share.
export const kinds = (page) => {
  const counts = sizes(page.stats?.kinds).map(([name, n]) => [name || t("data_by_kind_none"), n]);
  const column = page.report.info.roles?.kind || "kind";
  if (!counts.length) return null;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_by_kind")),
    shares(counts),
    h(
      "p",
      { class: "cap block" },
      t(page.stats.held_out_fixed ? "data_by_kind_fixed" : "data_by_kind_held", { column }),
    ),
  );
};
// How the records are spread over the labels, with a word on it where that is uneven.
export const labels = (page) => {
  const counts = sizes(page.stats?.labels),
    all = total(counts);
  if (!counts.length) return null;
  const [rare, few] = counts[counts.length - 1];
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_labels")),
    shares(counts),
    few * counts.length < all / 2
      ? h(
          "p",
          { class: "cap block" },
          t("data_labels_uneven", { label: L.clip(rare, 24), n: L.int(few), all: L.int(all) }),
        )
      : null,
  );
};
// A language's name in the page's own: "English" for "en".
export const language = (code) => {
  if (code === "und") return t("data_language_none");
  try {
    return new Intl.DisplayNames([L.lang], { type: "language" }).of(code);
  } catch {
    return code;
  }
};
const histogram = ({ unit, bars }) => {
  const most = Math.max(...bars.map((bar) => bar.count), 1),
    width = 268 / bars.length,
    last = bars[bars.length - 1],
    about = t(unit === "tokens" ? "data_lengths" : "data_lengths_characters");
  return h(
    "figure",
    { class: "hist" },
    s(
      "svg",
      { viewBox: "0 0 268 52", role: "img", "aria-label": `${about}: ${bars[0].from} – ${last.to}` },
      bars.map((bar, i) =>
        s(
          "rect",
          {
            x: i * width,
            width: Math.max(1, width - 1),
            y: 52 - (50 * bar.count) / most - (bar.count ? 1 : 0),
            height: (50 * bar.count) / most + (bar.count ? 1 : 0),
          },
          s("title", {}, `${L.int(bar.from)}–${L.int(bar.to)}: ${L.int(bar.count)}`),
        ),
      ),
    ),
    h(
      "figcaption",
      { class: "cap" },
      h("span", {}, L.int(bars[0].from)),
      h("span", {}, about),
      h("span", {}, L.int(last.to)),
    ),
  );
};

export const learnsFrom = (page) => {
  if (page.report.info.task !== "chat") return null;
  const advice = page.stats?.loss;
  const set = (value) => {
    page.lossOn = value;
    L.tell("loss-on", value);
    page.record ? page.turnTo(page.record.place) : page.turn(page.index);
  };
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_learns_from")),
    L.choice(
      t("data_learns_from"),
      [
        ["response", t("data_response")],
        ["all", t("data_everything")],
      ],
      page.lossOn,
      set,
    ),
    advice
      ? h(
          "p",
          { class: "cap block" },
          L.sentences(
            t("data_advice_ratio", { ratio: L.num(advice.ratio, 1), n: L.int(advice.records) }),
            t(`data_advice_${advice.loss_on}`),
          ),
        )
      : null,
    h("p", { class: "cap block" }, t("data_advice_why")),
  );
};
