/* Beside a record: what was found in the data set and what is left out, its numbers, what the loss is on, the list of
 data sets. `page` is the data panel's state with ask, fail, draw, open and turn. Everything goes through text nodes. */
import * as L from "../lib/page.js";
import { lang } from "../lib/words.js";
import { rowLink } from "./record.js";
import { h, s, t } from "../lib/page.js";

const LABELS_SHOWN = 12;

// ---- what was found
export const findings = (page) => {
  const { kinds, info } = page.report,
    out = info.rows - info.kept;
  const box = h("section", { class: "box findings" });
  if (!kinds.length) {
    L.show(
      box,
      h("h2", {}, t("data_all_kept")),
      h("p", { class: "soft" }, t("data_problems_none")),
      unusedLine(info),
      exportLine(page),
    );
    return box;
  }
  L.show(
    box,
    h("h2", {}, out > 0 ? t("data_left_out", { n: L.int(out) }) : t("data_all_kept")),
    switches(page),
    problemTable(page),
    unusedLine(info),
    exportLine(page),
  );
  return box;
};

// Columns, and keys of turns, that hold something and play no part.
const unusedLine = (info) =>
  info.unused?.length
    ? h("p", { class: "soft small unused" }, t("data_unused", { names: info.unused.join(", ") }))
    : null;

// Filters are switches; a change makes a new version of the data set, and only when it is applied.
const switches = (page) => {
  const on = (page.filters = page.filters || new Set(page.report.info.filters));
  const changed = on.size !== page.report.info.filters.length || page.report.info.filters.some((code) => !on.has(code));
  const flip = async (code, wanted) => {
    wanted ? on.add(code) : on.delete(code);
    const answer = await page.ask("preview", { dataset_id: page.id, filters: [...on] });
    if (answer.error) return page.fail(answer.error);
    page.wouldKeep = answer.kept;
    page.draw();
  };
  const apply = async () => {
    const answer = await page.ask("apply_filters", { dataset_id: page.id, filters: [...on] });
    if (answer.error) return page.fail(answer.error);
    page.open(answer.dataset_id, true);
    L.tell("datasets-changed");
  };
  const kinds = page.report.kinds.filter((kind) => kind.switchable);
  if (!kinds.length) return null;
  return h(
    "div",
    { class: "chips", role: "group", "aria-label": t("data_leave_out") },
    h("span", { class: "soft small" }, t("data_leave_out")),
    kinds.map((kind) =>
      h(
        "label",
        { class: "chip" },
        h("input", {
          type: "checkbox",
          checked: on.has(kind.code),
          "data-key": `code-${kind.code}`,
          onchange: (event) => flip(kind.code, event.target.checked),
        }),
        h("span", {}, kind.title),
        h("b", {}, L.int(kind.count)),
      ),
    ),
    changed
      ? h(
          "span",
          { class: "apply" },
          h(
            "span",
            { class: "soft small", role: "status" },
            t("data_would_keep", { n: L.int(page.wouldKeep ?? page.report.info.kept) }),
          ),
          L.button(t("data_apply"), apply, "", { "data-key": "apply" }),
        )
      : null,
  );
};

const problemTable = (page) => {
  const { problems, kinds, total } = page.report,
    limit = page.more === page.id ? problems.length : 10;
  const only = async (code) => {
    const answer = await page.ask("problems", { dataset_id: page.id, code });
    if (answer.error) return page.fail(answer.error);
    page.code = code;
    Object.assign(page.report, answer);
    page.draw();
  };
  const kind = h(
    "select",
    {
      "aria-label": t("data_why"),
      "data-key": "kind",
      class: "small-select",
      onchange: (event) => only(event.target.value),
    },
    [["", t("data_every_kind")], ...kinds.map((each) => [each.code, `${each.title} (${L.int(each.count)})`])].map(
      ([code, text]) => {
        const o = h("option", { value: code }, text);
        o.selected = code === (page.code || "");
        return o;
      },
    ),
  );
  return [
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { class: "n" }, t("data_row")),
            h("th", {}, kinds.length > 1 ? kind : t("data_why")),
            h("th", {}, t("data_what")),
            h("th", {}, t("data_happens")),
          ),
        ),
        h(
          "tbody",
          {},
          problems
            .slice(0, limit)
            .map((problem) =>
              h(
                "tr",
                {},
                h("td", { class: "n" }, rowLink(page, problem.row, problem.place)),
                h("td", { class: "why" }, problem.message, h("div", { class: "code" }, problem.code)),
                h("td", { class: "excerpt" }, problem.excerpt || ""),
                h("td", { class: "happens" }, happens(problem.action)),
              ),
            ),
        ),
      ),
    ),
    problems.length > limit
      ? L.button(
          t("data_more"),
          () => {
            page.more = page.id;
            page.draw();
          },
          "quiet",
          { "data-key": "more" },
        )
      : total > problems.length
        ? h("p", { class: "cap" }, t("data_first_only", { n: L.int(problems.length) }))
        : null,
  ];
};
const happens = (action) =>
  ({ "left out": t("data_dropped"), "kept, cut": t("data_cut"), kept: t("data_kept") })[action] || action;

const exportLine = (page) => {
  const report = async (kind) => {
    const answer = await page.ask("findings", { dataset_id: page.id, kind });
    if (answer.error) return page.fail(answer.error);
    L.save(`${page.id}-report.${kind}`, kind === "csv" ? "text/csv" : "application/json", answer.text);
  };
  const shapes = page.report.shapes || [],
    pick = page.pick || (page.pick = { shape: shapes[0], format: "jsonl" });
  if (!shapes.includes(pick.shape)) pick.shape = shapes[0];
  const menu = (label, options, key) =>
    h(
      "select",
      {
        "aria-label": label,
        class: "small-select",
        "data-key": `export-${key}`,
        onchange: (event) => {
          pick[key] = event.target.value;
        },
      },
      options.map((each) => {
        const o = h("option", { value: each }, each);
        o.selected = each === pick[key];
        return o;
      }),
    );
  return h(
    "div",
    { class: "cap" },
    h(
      "span",
      { class: "report-links" },
      t("data_export"),
      menu(t("data_export_shape"), shapes, "shape"),
      menu(t("data_export_format"), page.report.formats || [], "format"),
      L.button(
        t("data_export_do"),
        () => page.trigger("submit", { dataset_id: page.id, language: lang, ...pick }),
        "quiet",
        {
          "data-key": "export",
        },
      ),
    ),
    page.report.kinds.length
      ? h(
          "span",
          { class: "report-links" },
          t("data_report"),
          L.button("JSON", () => report("json"), "quiet"),
          L.button("CSV", () => report("csv"), "quiet"),
        )
      : null,
  );
};

// ---- numbers
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
                `${L.int(stats.vocabulary.bytes)} (${L.num(100 * stats.vocabulary.bytes_share, 1)} %)`,
              ),
            ]
          : null,
        mix ? row(t("data_n_languages"), mix) : null,
        stats ? row(t("data_n_held_out"), L.int(stats.held_out)) : null,
        cost
          ? [
              row(
                t("data_n_epoch"),
                L.timeRange(cost),
              ),
              row(t("data_n_memory"), t("data_n_about", { time: L.bytes(cost.memory_bytes) })),
            ]
          : null,
        info.version > 1 ? row(t("data_n_version"), `${info.version}`) : null,
        row(t("run_hash"), info.content_hash.slice(0, 12)),
      ),
    ),
    info.change ? h("p", { class: "cap" }, info.change) : null,
    stats?.histogram?.bars.length > 1 ? histogram(stats.histogram) : null,
  );
};
// How the records are spread over the labels, with a word on it where that is uneven.
export const labels = (page) => {
  const counts = Object.entries(page.stats?.labels || {}).sort((a, b) => b[1] - a[1]),
    all = counts.reduce((sum, [, n]) => sum + n, 0),
    most = counts[0]?.[1];
  if (!counts.length) return null;
  const [rare, few] = counts[counts.length - 1],
    shown = counts.slice(0, LABELS_SHOWN);
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_labels")),
    h(
      "div",
      { class: "shares" },
      shown.map(([label, n]) =>
        h(
          "div",
          { title: `${label}: ${L.int(n)}` },
          h("span", {}, L.clip(label, 40)),
          h("span", { class: "track" }, h("i", { style: `width:${((100 * n) / most).toFixed(1)}%` })),
          h("em", {}, L.percent(n / all)),
        ),
      ),
    ),
    counts.length > shown.length
      ? h("p", { class: "cap block" }, t("data_labels_more", { n: L.int(counts.length - shown.length) }))
      : null,
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
          t("data_advice_ratio", { ratio: L.num(advice.ratio, 1), n: L.int(advice.records) }) +
            " " +
            t(`data_advice_${advice.loss_on}`),
        )
      : null,
    h("p", { class: "cap block" }, t("data_advice_why")),
  );
};

// ---- the list of data sets
export const dataSets = (page) =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_sets")),
    h(
      "ul",
      { class: "sets" },
      page.sets.map((set) => setLine(page, set)),
    ),
    page.merging?.size > 1
      ? h(
          "div",
          { class: "cap" },
          t("data_merge_n", { n: page.merging.size }),
          L.button(t("data_merge"), () => merge(page), "", { "data-key": "merge" }),
        )
      : null,
  );
const merge = async (page) => {
  const answer = await page.ask("merge", { dataset_ids: [...page.merging] });
  if (answer.error) return page.fail(answer.error);
  page.merging.clear();
  L.tell("datasets-changed");
  page.open(answer.dataset_id, true);
};
const setLine = (page, set) => {
  const current = set.dataset_id === page.id,
    line = h("li", { class: current ? "on" : "" });
  const merging = (page.merging = page.merging || new Set());
  const rename = () => {
    const input = h("input", { class: "entry", value: set.name, maxlength: 80, "aria-label": t("data_rename_to") });
    L.show(
      line,
      h(
        "form",
        {
          class: "renaming",
          onsubmit: async (event) => {
            event.preventDefault();
            const answer = await page.ask("rename", { dataset_id: set.dataset_id, name: input.value });
            if (answer.error) return L.show(line, L.notice(answer.error));
            if (current) page.report.info.name = answer.name;
            await page.list();
            page.draw();
            L.tell("datasets-changed");
          },
        },
        input,
        h("button", { type: "submit", class: "btn" }, t("data_save")),
      ),
    );
    input.focus();
    input.select();
  };
  const remove = async () => {
    const answer = await page.ask("delete", { dataset_id: set.dataset_id });
    if (answer.error) return page.fail(answer.error);
    merging.delete(set.dataset_id);
    L.tell("datasets-changed");
    await page.leave();
  };
  L.show(
    line,
    h(
      "span",
      { class: "set-name" },
      page.sets.length > 1
        ? h("input", {
            type: "checkbox",
            checked: merging.has(set.dataset_id),
            "aria-label": t("data_merge_one", { name: set.name }),
            "data-key": `merge-${set.dataset_id}`,
            onchange: (event) => {
              event.target.checked ? merging.add(set.dataset_id) : merging.delete(set.dataset_id);
              page.draw();
            },
          })
        : null,
      h(
        "button",
        {
          type: "button",
          class: "link",
          "aria-current": current ? "true" : null,
          "data-key": `open-${set.dataset_id}`,
          onclick: () => page.open(set.dataset_id),
        },
        set.version > 1 ? `${set.name} · v${set.version}` : set.name,
      ),
    ),
    h("span", { class: "soft n" }, L.int(set.kept)),
    current
      ? h(
          "div",
          { class: "acts" },
          L.button(t("data_rename"), rename, "quiet"),
          L.sure(t("data_delete"), t("data_delete_sure"), remove),
        )
      : null,
  );
  return line;
};
