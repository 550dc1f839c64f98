/* The evaluate panel: how an evaluation goes, what came out, record by record; the list; a classifier to try.
 Everything that models or data say goes through text nodes. Knows no form. */
import * as L from "../lib/panel.js";
import { square } from "../lib/chart/square.js";
import { differing, whisker, winBar } from "./plots.js";
import { strategies, strategyRecords } from "./strategies.js";
import { h, t } from "../lib/panel.js";

const GOING = ["queued", "running", "stopping"],
  SHARES = ["exact", "normalised", "ended"];
const FIRST = "var(--greedy)",
  SECOND = "var(--topk)",
  GOOD = "var(--topp)";
const state = {
  id: null,
  seen: null,
  status: null,
  result: {},
  records: [],
  list: [],
  sort: { key: "row", down: false },
  differ: false,
  all: false,
  open: null,
  side: 0,
  at: 0.5,
  klass: null,
  error: null,
  keys: {},
}; // keys: of judges, each with its evaluation alone, so that none goes to another address
const parts = {};

L.define("evaluate-result", ({ el, server, trigger }) => {
  Object.assign(parts, { main: el, server, trigger });
  if (parts.side) look();
});
L.define("evaluate-side", ({ el }) => {
  parts.side = el;
  if (parts.main) look();
});
const ask = (name, data) => L.ask(parts.server, name, data);

let timer;
const look = async (force) => {
  clearTimeout(timer);
  let wait = 4000;
  if (force || L.visible(parts.main.closest(".tabitem") || parts.main)) {
    const answer = await ask("overview", { evaluation_id: state.id, seen: state.seen, differ: state.differ });
    if (answer.error) {
      if (!answer.lost) state.error = answer.error;
    } else takeIn(answer);
    if (state.status && GOING.includes(state.status.state)) wait = 800;
    draw();
  }
  timer = setTimeout(look, wait);
};
const takeIn = (answer) => {
  state.list = answer.evaluations;
  state.error = null;
  const one = answer.evaluation;
  if (!one) return Object.assign(state, { id: null, status: null, result: {}, records: [], seen: null });
  Object.assign(state, { id: one.status.evaluation_id, status: one.status });
  if (one.fresh) Object.assign(state, { seen: one.seen, result: one.result, records: one.records, of: one.of });
};
const choose = (id) => {
  Object.assign(state, { id, seen: null, open: null, all: false, side: 0, klass: null, at: 0.5 });
  look(true);
};
const act = async (name, data) => {
  const answer = await ask(name, { evaluation_id: state.id, ...data });
  if (answer.error) {
    state.error = answer.error;
    return draw();
  }
  if (name === "delete") {
    delete state.keys[state.id];
    Object.assign(state, { id: null, seen: null });
  }
  look(true);
};
L.hear("evaluation-started", ({ id, key }) => {
  if (key) state.keys[id] = key;
  choose(id);
  L.tell("runs-changed");
});
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && parts.main && look());

const draw = () => {
  if (!state.status) {
    const empty = h("section", { class: "box empty" }, h("h2", {}, t("eval_empty_title")), h("p", {}, t("eval_empty")));
    L.show(parts.main, L.notice(state.error), empty);
    return L.show(parts.side);
  }
  L.show(parts.main, L.notice(state.error), head(), body());
  L.show(parts.side, list());
};

// ---- how it goes
const head = () => {
  const { status } = state,
    going = GOING.includes(status.state),
    titles = status.titles.models || [];
  const name =
    status.kind === "kfold"
      ? t("eval_how_folds")
      : titles.map((title, i) =>
          h(
            "span",
            { class: "side" },
            titles.length > 1 ? h("i", { class: `which ${i ? "second" : "first"}` }) : null,
            " ",
            L.clip(title, 60),
          ),
        );
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "state" },
      h("b", {}, name),
      h(
        "span",
        {},
        state.result.records === undefined
          ? status.titles.data || ""
          : t("eval_on", { n: L.int(state.result.records), data: status.titles.data || "" }),
      ),
      h("span", { class: status.state === "failed" ? "is-failed" : "" }, t(`eval_state_${status.state}`)),
      h(
        "span",
        { class: "acts" },
        going
          ? L.button(t("eval_stop"), () => act("stop"), "", {
              "data-key": "stop",
              disabled: status.state === "stopping",
            })
          : [
              status.state === "completed" && !state.result.judge?.error
                ? null
                : [
                    status.judged_by_endpoint ? keyField(status.evaluation_id) : null,
                    L.button(
                      t("eval_resume"),
                      () =>
                        act("resume", { key: status.judged_by_endpoint ? state.keys[status.evaluation_id] || "" : "" }),
                      "",
                      { "data-key": "resume" },
                    ),
                  ],
              L.sure(t("eval_delete"), t("eval_delete_sure"), () => act("delete")),
            ],
      ),
    ),
    going ? progress(status) : null,
    !going && status.message
      ? L.notice({ message: status.message, hint: status.hint, kind: status.state === "failed" ? "error" : "info" })
      : null,
    (state.result.notes || []).map((note) =>
      L.notice({
        message: t(`eval_note_${note.code}`, figuresOf(note)),
        kind: note.code === "overlap" || note.code === "unknown" ? "error" : "info",
      }),
    ),
  );
};
const figuresOf = (note) =>
  Object.fromEntries(Object.entries(note).map(([key, value]) => [key, Number.isInteger(value) ? L.int(value) : value]));
const keyField = (id) =>
  h("input", {
    class: "entry judge-key",
    type: "password",
    autocomplete: "off",
    maxlength: 500,
    value: state.keys[id] || "",
    "aria-label": t("eval_judge_key"),
    placeholder: t("eval_judge_key_short"),
    "data-key": "judge-key",
    oninput: (event) => {
      state.keys[id] = event.target.value;
    },
  });
const progress = (status) => {
  const now = status.progress || {},
    share = now.total ? (now.number - 1 + (now.done + (now.under_way || 0)) / now.total) / now.phases : null;
  const what =
    status.state === "queued"
      ? status.waits_for
        ? t("eval_waits", { n: status.waits_for })
        : t("eval_waits_turn")
      : now.phase
        ? t(`eval_phase_${now.phase}`, { title: now.title })
        : t("eval_phase_loading");
  return h(
    "div",
    {},
    L.progressBar(share, what),
    h(
      "div",
      { class: "cap" },
      h("span", { role: "status" }, what),
      h(
        "span",
        {},
        [
          now.total ? t("eval_progress", { done: L.int(now.done), total: L.int(now.total) }) : "",
          now.eta_seconds !== null && now.eta_seconds !== undefined
            ? t("eval_left", { time: L.duration(now.eta_seconds) })
            : "",
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
  );
};
const body = () => {
  const { result } = state;
  if (!result.kind) return [];
  if (result.kind === "classify") return classified(result);
  if (result.kind === "kfold") return [folds(result)];
  if (result.kind === "decoding") return [strategies(result, { draw }), strategyRecords(result, state, HOOKS)];
  return [figures(result), result.judge ? judged(result) : null, records(result)];
};

const HOOKS = {
  unfold: (record) => unfold(record),
  all: () => {
    state.all = true;
    draw();
  },
  differ: (on) => {
    state.differ = on;
    look(true);
  },
};

// ---- two models
const shown = (key, value) =>
  value === null
    ? "–"
    : SHARES.includes(key)
      ? `${L.num(value * 100, 1)} %`
      : key === "tokens" || key === "chrf"
        ? L.num(value, 1)
        : L.num(value, 3);
const signed = (key, value) =>
  (value > 0 ? "+" : "") +
  (SHARES.includes(key) ? `${L.num(value * 100, 1)}` : L.num(value, key === "tokens" || key === "chrf" ? 1 : 3));
const names = (result) =>
  result.models.map((model, i) =>
    h("th", { class: "n" }, h("i", { class: `which ${i ? "second" : "first"}` }), " ", L.clip(model.title, 26)),
  );
const figures = (result) =>
  h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        { class: "figures" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, t("eval_figure")),
            names(result),
            result.models.length > 1
              ? [h("th", { class: "n" }, t("eval_change")), h("th", { class: "wide" }, t("eval_sure"))]
              : null,
          ),
        ),
        h(
          "tbody",
          {},
          result.figures.map((figure) => {
            const word = figure.key === "loss" && result.kind !== "answers" ? "loss_text" : figure.key,
              help = L.help(t(`eval_h_${word}`), t(`eval_f_${word}`)),
              change = figure.difference;
            return h(
              "tr",
              {},
              h(
                "td",
                {},
                t(`eval_f_${word}`),
                help,
                SHARES.slice(0, 2).includes(figure.key)
                  ? h("span", { class: "soft small" }, ` n = ${L.int(figure.n)}`)
                  : null,
              ),
              figure.values.map((value, i) =>
                h(
                  "td",
                  { class: `n ${figure.better === i ? "better" : ""}` },
                  shown(figure.key, value),
                  figure.better === i ? h("span", { class: "unseen" }, ` ${t("eval_clear")}`) : null,
                ),
              ),
              result.models.length > 1
                ? [
                    h("td", { class: "n" }, change ? signed(figure.key, change.value) : "–"),
                    h(
                      "td",
                      { class: "wide" },
                      change
                        ? [
                            whisker(change, figure.better !== null),
                            h(
                              "span",
                              { class: "soft small n" },
                              `${signed(figure.key, change.low)} … ${signed(figure.key, change.high)}`,
                            ),
                          ]
                        : null,
                    ),
                  ]
                : null,
            );
          }),
        ),
      ),
    ),
  );

const judged = (result) => {
  const { tally, error, criteria, judge, pairs, of } = result.judge;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_win", { title: result.models[0].title })),
    error ? L.notice(error) : null,
    tally.n
      ? [
          h(
            "p",
            {},
            h(
              "b",
              { class: "big" },
              t("eval_win_rate", {
                rate: L.percent(tally.rate),
                low: L.percent(tally.low),
                high: L.percent(tally.high),
              }),
            ),
          ),
          winBar(tally),
          h(
            "p",
            { class: "cap block" },
            [
              of > pairs ? t("eval_judge_first", { n: L.int(pairs), of: L.int(of) }) : "",
              tally.agreement === null ? "" : t("eval_agreement", { share: L.percent(tally.agreement) }),
              tally.equal ? t("eval_judge_equal", { n: L.int(tally.equal) }) : "",
              tally.scores
                ? t("eval_scores", { first: L.num(tally.scores[0], 2), second: L.num(tally.scores[1], 2) })
                : "",
              tally.unclear ? t("eval_judge_unclear", { n: tally.unclear }) : "",
              t("eval_judged_by", { judge: L.clip(judge, 60) }),
            ]
              .filter(Boolean)
              .join(" · "),
          ),
        ]
      : null,
    h("p", { class: "soft small" }, criteria),
  );
};

// ---- record by record
const records = (result) => {
  if (!state.records.length && !state.differ) return null;
  const two = result.models.length > 1,
    answers = result.kind === "answers";
  /** @type {any[][]} */
  const columns = [
    ["row", t("eval_col_row"), (r) => r.row],
    ["prompt", t(result.kind === "answers" ? "eval_col_prompt" : "eval_col_text"), (r) => r.prompt],
  ];
  result.models.forEach((_, i) => columns.push([`loss${i}`, t("eval_col_loss"), (r) => r.loss[i], i]));
  if (answers)
    for (const [key, name, of] of /** @type {any[][]} */ ([
      ["right", t("eval_col_right"), rank],
      ["rouge", t("eval_col_rouge"), (r, i) => r.rouge_l[i]],
    ]))
      result.models.forEach((_, i) => columns.push([`${key}${i}`, name, (r) => of(r, i), i]));
  if (state.records.some((r) => r.verdict))
    columns.push(["verdict", t("eval_col_verdict"), (r) => (r.verdict ? (r.verdict.winner ?? 0.5) : -1)]);
  const value = columns.find(([key]) => key === state.sort.key)?.[2] || columns[0][2];
  let rows = state.records.filter((r) => !two || !state.differ || r.differs);
  rows = [...rows].sort((a, b) => {
    const x = value(a),
      y = value(b),
      way = state.sort.down ? -1 : 1;
    return x === y ? a.row - b.row : x === null ? 1 : y === null ? -1 : x < y ? -way : way;
  });
  const limit = state.all ? rows.length : 20;
  const header = ([key, text, , i]) =>
    h(
      "th",
      {
        class: key === "prompt" ? "" : "n",
        "aria-sort": state.sort.key === key ? (state.sort.down ? "descending" : "ascending") : "none",
      },
      h(
        "button",
        {
          type: "button",
          class: "sorter",
          "data-key": `sort-${key}`,
          onclick: () => {
            state.sort = { key, down: state.sort.key === key ? !state.sort.down : false };
            draw();
          },
        },
        i === undefined || !two ? null : h("i", { class: `which ${i ? "second" : "first"}` }),
        " ",
        text,
        state.sort.key === key ? (state.sort.down ? " ↓" : " ↑") : "",
      ),
    );
  return h(
    "section",
    { class: "box records" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("eval_records")),
      h(
        "span",
        { class: "acts" },
        two
          ? h(
              "label",
              { class: "chip" },
              h("input", {
                type: "checkbox",
                checked: state.differ,
                "data-key": "differ",
                onchange: (event) => {
                  state.differ = event.target.checked;
                  draw();
                  look(true);
                },
              }),
              h("span", {}, t("eval_only_differ")),
            )
          : null,
        L.button(t("eval_csv"), () => parts.trigger("submit", { evaluation_id: state.id }), "quiet", {
          "data-key": "csv",
        }),
      ),
    ),
    state.of > state.records.length
      ? h("p", { class: "cap block" }, t("eval_first_rows", { n: L.int(state.records.length), of: L.int(state.of) }))
      : null,
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, columns.map(header))),
        h(
          "tbody",
          {},
          rows
            .slice(0, limit)
            .map((record) => [
              line(record, columns),
              state.open?.index === record.index ? whole(state.open, columns.length) : null,
            ]),
        ),
      ),
    ),
    rows.length > limit
      ? L.button(
          t("eval_show_all", { n: L.int(rows.length) }),
          () => {
            state.all = true;
            draw();
          },
          "quiet",
          { "data-key": "all" },
        )
      : null,
  );
};
const rank = (record, i) => (record.exact[i] === null ? -1 : record.exact[i] ? 2 : record.normalised[i] ? 1 : 0);
const line = (record, columns) =>
  h(
    "tr",
    { class: state.open?.index === record.index ? "on" : "" },
    columns.map(([key, , value, i]) => {
      if (key === "row") return h("td", { class: "n" }, L.int(record.row));
      if (key === "prompt")
        return h(
          "td",
          {},
          h(
            "button",
            {
              type: "button",
              class: "link",
              "data-key": `record-${record.index}`,
              "aria-expanded": String(state.open?.index === record.index),
              onclick: () => unfold(record),
            },
            L.clip(record.prompt, 90) || "–",
          ),
        );
      if (key.startsWith("right")) return h("td", { class: "n" }, mark(rank(record, i)));
      if (key === "verdict")
        return h(
          "td",
          { class: "n" },
          record.verdict
            ? record.verdict.winner === null
              ? "="
              : h("i", { class: `which ${record.verdict.winner ? "second" : "first"}` })
            : "–",
        );
      const here = value(record),
        other = columns.filter(([k]) => k.slice(0, -1) === key.slice(0, -1)).map(([, , v]) => v(record));
      const best = key.startsWith("loss") ? Math.min(...other) : Math.max(...other);
      return h(
        "td",
        { class: `n ${other.length > 1 && other[0] !== other[1] && here === best ? "ahead" : ""}` },
        L.num(here, key.startsWith("loss") ? 3 : 2),
      );
    }),
  );
const mark = (value) =>
  value < 0
    ? "–"
    : value === 2
      ? h("span", { class: "yes" }, "✓", h("span", { class: "unseen" }, t("eval_yes")))
      : value === 1
        ? h("span", { title: t("eval_form") }, "≈")
        : h("span", { class: "no" }, "✗", h("span", { class: "unseen" }, t("eval_no")));
const unfold = async (record) => {
  if (state.open?.index === record.index) {
    state.open = null;
    return draw();
  }
  const answer = await ask("record", { evaluation_id: state.id, index: record.index });
  if (answer.error) {
    state.error = answer.error;
    return draw();
  }
  state.open = answer;
  draw();
};
const whole = (record, width) =>
  h(
    "tr",
    { class: "unfolded" },
    h(
      "td",
      { colspan: width },
      h("p", { class: "prompt" }, record.prompt),
      record.reference === undefined
        ? null
        : h(
            "div",
            { class: "sides" },
            h(
              "div",
              {},
              h("h3", {}, t("eval_reference")),
              [record.reference, ...(record.alternatives || [])].map((text) => h("p", {}, text)),
            ),
            record.answers.map((answer, i) =>
              h(
                "div",
                {},
                h(
                  "h3",
                  {},
                  h("i", { class: `which ${i ? "second" : "first"}` }),
                  " ",
                  L.clip(state.result.models[i].title, 40),
                ),
                h(
                  "p",
                  {},
                  record.long[i]
                    ? t("eval_too_long")
                    : answer
                      ? differing(answer, record.reference)
                      : t("eval_answer_none"),
                ),
                h(
                  "p",
                  { class: "cap" },
                  [
                    `${L.int(record.tokens[i])} ${t("unit_tokens")}`,
                    record.ended[i] ? "" : t("eval_did_not_end"),
                    record.verdict?.scores ? `${L.num(record.verdict.scores[i], 1)} / 5` : "",
                  ]
                    .filter(Boolean)
                    .join(" · "),
                ),
              ),
            ),
          ),
    ),
  );

// ---- classifiers
const classified = (result) => {
  const model = result.models[Math.min(state.side, result.models.length - 1)],
    classes = result.labels;
  const klass = state.klass !== null && model.curves[state.klass] ? state.klass : String(model.positive);
  return [
    contest(result),
    h("section", { class: "box" }, threshold(result, model, klass)),
    h("div", { class: "pairs" }, confusion(classes, model), perClass(classes, model)),
    mistakes(model),
  ];
};
const fitTime = (seconds) => (seconds < 10 ? t("seconds", { n: L.num(seconds, 1) }) : L.duration(seconds));
const contest = (result) => {
  const rows = [
    ...result.models.map((each) => ({ ...each, name: each.title, mine: true })),
    ...result.baselines.map((each) => ({ ...each, name: t(`eval_baseline_${each.name}`) })),
  ];
  const unbalanced = rows[0].unbalanced,
    rare = result.labels[rows[0].positive],
    rareF1 = (r) => r.classes[r.positive].f1;
  /** @type {any[][]} */
  const columns = [
    [t("eval_accuracy"), (r) => r.accuracy],
    [t("eval_precision_macro"), (r) => r.macro.precision],
    [t("eval_recall_macro"), (r) => r.macro.recall],
    [t("eval_f1_macro"), (r) => r.macro.f1],
    [t("eval_f1_of", { label: L.clip(rare, 20) }), rareF1],
    [t("eval_roc_auc"), (r) => r.roc_auc],
    ...(unbalanced ? [[t("eval_pr_auc"), (r) => r.pr_auc]] : []),
    [t("eval_ece"), (r) => r.ece, true],
  ];
  const best = columns.map(([, value, low]) => {
    const all = rows.map(value).filter((v) => v !== null);
    return low ? Math.min(...all) : Math.max(...all);
  });
  const behind = Math.max(...result.models.map(rareF1)) < Math.max(...result.baselines.map(rareF1));
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, t("eval_who")),
            columns.map(([name]) => h("th", { class: "n" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) =>
            h(
              "tr",
              {},
              h(
                "td",
                {},
                row.mine && result.models.length > 1
                  ? h(
                      "button",
                      {
                        type: "button",
                        class: "link",
                        "data-key": `side-${row.id}`,
                        "aria-current": result.models[state.side]?.id === row.id ? "true" : null,
                        onclick: () => {
                          state.side = result.models.findIndex((each) => each.id === row.id);
                          draw();
                        },
                      },
                      row.name,
                    )
                  : row.name,
                row.seconds !== undefined
                  ? h("span", { class: "soft small" }, ` ${t("eval_fit_time", { time: fitTime(row.seconds) })}`)
                  : null,
              ),
              columns.map(([, value], i) =>
                h("td", { class: `n ${value(row) === best[i] ? "better" : ""}` }, L.num(value(row), 3)),
              ),
            ),
          ),
        ),
      ),
    ),
    behind ? h("p", { class: "cap block" }, t("eval_small_wins")) : null,
  );
};
const at = (model, klass, least) => {
  const scores = model.scores[klass],
    truth = model.truth,
    positive = Number(klass),
    cells = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (let i = 0; i < truth.length; i++)
    cells[scores[i] >= least ? (truth[i] === positive ? "tp" : "fp") : truth[i] === positive ? "fn" : "tn"]++;
  const precision = cells.tp + cells.fp ? cells.tp / (cells.tp + cells.fp) : 1,
    recall = cells.tp + cells.fn ? cells.tp / (cells.tp + cells.fn) : 0;
  return {
    ...cells,
    precision,
    recall,
    f1: precision + recall ? (2 * precision * recall) / (precision + recall) : 0,
    false: cells.fp + cells.tn ? cells.fp / (cells.fp + cells.tn) : 0,
  };
};
const threshold = (result, model, klass) => {
  const curves = model.curves[klass],
    label = result.labels[klass];
  if (!curves?.roc) return h("p", { class: "soft" }, t("eval_note_missing_class", { labels: label }));
  const has = model.scores[klass];
  const now = has ? at(model, klass, state.at) : null;
  const roc = square({
    lines: [{ ...curves.roc, color: FIRST }],
    diagonal: true,
    xName: t("eval_false_rate"),
    yName: t("eval_hit_rate"),
    label: `${t("eval_roc")}: ${L.num(model.roc_auc, 3)}`,
    mark: now && { x: now.false, y: now.recall },
  });
  const pr = square({
    lines: [
      { ...curves.pr, color: FIRST },
      { x: [0, 1], y: [curves.base, curves.base], color: "var(--edge)", dash: "3 3" },
    ],
    xName: t("eval_recall"),
    yName: t("eval_precision"),
    label: `${t("eval_pr")}: ${L.num(model.pr_auc, 3)}`,
    mark: now && { x: now.recall, y: now.precision },
  });
  const move = (event) => {
    state.at = Number(event.target.value);
    draw();
  };
  const slider = h("input", {
    type: "range",
    min: 0.01,
    max: 0.99,
    step: 0.01,
    value: state.at,
    id: "evaluate-threshold",
    "data-key": "threshold",
    oninput: move,
  });
  const told =
    now &&
    t("eval_at_threshold", {
      precision: L.num(now.precision, 3),
      recall: L.num(now.recall, 3),
      f1: L.num(now.f1, 3),
      wrong: L.int(now.fp + now.fn),
    });
  const picks = Object.keys(model.curves);
  const take = (key) => {
    state.klass = key;
    draw();
  };
  return [
    h(
      "div",
      { class: "boxline" },
      h(
        "label",
        { for: "evaluate-threshold", class: "threshold" },
        t("eval_threshold", { label: L.clip(label, 24) }),
        " ",
        h("b", { class: "n" }, L.num(state.at, 2)),
      ),
      picks.length > 1
        ? L.menu({
            class: "small-select",
            "aria-label": t("eval_class"),
            "data-key": "klass",
            value: klass,
            options: picks.map((key) => [key, result.labels[key]]),
            onchange: take,
          })
        : null,
    ),
    has ? slider : null,
    h("p", { class: "cap block", role: "status" }, told),
    h(
      "div",
      { class: "squares" },
      h("figure", {}, roc, h("figcaption", { class: "cap" }, t("eval_roc"))),
      h("figure", {}, pr, h("figcaption", { class: "cap" }, t("eval_pr"))),
      reliability(model),
    ),
  ];
};
const confusion = (labels, model) => {
  if (labels.length > 12 || !model.confusion) return null;
  const most = model.confusion.map((row) =>
    Math.max(
      1,
      row.reduce((a, b) => a + b, 0),
    ),
  );
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_confusion")),
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        { class: "confusion" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, `${t("eval_truth")} ↓ ${t("eval_taken")} →`),
            labels.map((label) => h("th", { class: "n" }, L.clip(label, 16))),
          ),
        ),
        h(
          "tbody",
          {},
          model.confusion.map((row, i) =>
            h(
              "tr",
              {},
              h("th", {}, L.clip(labels[i], 16)),
              row.map((n, j) =>
                h(
                  "td",
                  { class: "n", style: `--share:${Math.round((45 * n) / most[i])}%;--tone:${i === j ? GOOD : SECOND}` },
                  L.int(n),
                ),
              ),
            ),
          ),
        ),
      ),
    ),
  );
};
const reliability = (model) => {
  const total = model.bins.reduce((sum, bin) => sum + bin.n, 0);
  const plot = square({
    diagonal: true,
    xName: t("eval_confidence"),
    yName: t("eval_is_right"),
    label: `${t("eval_ece")}: ${L.num(model.ece, 3)}`,
    lines: [{ x: model.bins.map((bin) => bin.confidence), y: model.bins.map((bin) => bin.accuracy), color: FIRST }],
    points: model.bins.map((bin) => ({
      x: bin.confidence,
      y: bin.accuracy,
      r: 3 + 7 * Math.sqrt(bin.n / total),
      color: FIRST,
      text: `${L.percent(bin.confidence)} → ${L.percent(bin.accuracy)} (${L.int(bin.n)})`,
    })),
  });
  return h(
    "figure",
    {},
    plot,
    h("figcaption", { class: "cap" }, `${t("eval_reliability")} ${t("eval_ece")} ${L.num(model.ece, 3)}`),
  );
};
const perClass = (labels, model) =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_classes")),
    h(
      "div",
      { class: "scroll tall" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            [t("eval_class"), t("eval_precision"), t("eval_recall"), t("eval_f1"), t("eval_support")].map((name, i) =>
              h("th", { class: i ? "n" : "" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          model.classes.slice(0, 200).map((each) =>
            h(
              "tr",
              {},
              h("td", {}, each.label),
              [each.precision, each.recall, each.f1].map((value) =>
                h("td", { class: "n" }, each.support ? L.num(value, 3) : "–"),
              ),
              h("td", { class: "n" }, L.int(each.support)),
            ),
          ),
        ),
      ),
    ),
  );
const mistaken = ({ label, predicted, probability }) =>
  t("eval_mistake", { label, predicted, share: L.percent(probability) });
const mistakes = (model) =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_mistakes")),
    model.mistakes.length
      ? h(
          "ul",
          { class: "mistakes" },
          model.mistakes
            .slice(0, state.all ? 50 : 8)
            .map((each) =>
              h(
                "li",
                {},
                h("p", {}, L.clip(each.text, 300)),
                h("p", { class: "soft small" }, `${t("eval_col_row")} ${L.int(each.row)}: ${mistaken(each)}`),
              ),
            ),
        )
      : h("p", { class: "soft" }, t("eval_no_mistakes")),
    model.mistakes.length > 8 && !state.all
      ? L.button(
          t("eval_show_all", { n: model.mistakes.length }),
          () => {
            state.all = true;
            draw();
          },
          "quiet",
          { "data-key": "all" },
        )
      : null,
  );

const folds = (result) => {
  const keys = [
    ["accuracy", t("eval_accuracy")],
    ["f1_macro", t("eval_f1_macro")],
    ["f1", t("eval_f1_of", { label: result.positive })],
    ["roc_auc", t("eval_roc_auc")],
    ["pr_auc", t("eval_pr_auc")],
    ["ece", t("eval_ece")],
  ];
  const whos = [
    ["model", t("eval_who")],
    ["logistic", t("eval_baseline_logistic")],
    ["bayes", t("eval_baseline_bayes")],
  ];
  const mean = (who, key) => {
    const one = result.spread[who][key];
    return one
      ? [
          `${L.num(one.mean, 3)}${one.sd === null ? "" : ` ± ${L.num(one.sd, 3)}`}`,
          one.values.length < result.folds.length
            ? h(
                "span",
                { class: "soft small" },
                ` ${t("eval_of_folds", { n: one.values.length, of: result.folds.length })}`,
              )
            : null,
        ]
      : "–";
  };
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, t("eval_fold")),
            keys.map(([, name]) => h("th", { class: "n" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          result.folds.map((fold) =>
            h(
              "tr",
              {},
              h("td", {}, `${fold.fold + 1} · ${L.int(fold.n)} ${t("unit_records")}`),
              keys.map(([key]) => h("td", { class: "n" }, L.num(fold.model[key], 3))),
            ),
          ),
          whos
            .filter(([who]) => result.spread[who])
            .map(([who, name]) =>
              h(
                "tr",
                { class: who === "model" ? "sum" : "" },
                h("th", {}, `${name}, ${t("eval_mean")}`),
                keys.map(([key]) => h("td", { class: "n" }, mean(who, key))),
              ),
            ),
        ),
      ),
    ),
  );
};

// ---- the list
const list = () =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_list")),
    h(
      "ul",
      { class: "sets" },
      state.list.map((each) =>
        h(
          "li",
          { class: each.evaluation_id === state.id ? "on" : "" },
          h(
            "button",
            {
              type: "button",
              class: "link",
              "aria-current": each.evaluation_id === state.id ? "true" : null,
              "data-key": `open-${each.evaluation_id}`,
              onclick: () => choose(each.evaluation_id),
            },
            L.clip(each.titles.data || "–", 40),
          ),
          h(
            "span",
            { class: "soft n" },
            each.state === "completed" ? L.when(each.created) : t(`eval_state_${each.state}`),
          ),
          h(
            "span",
            { class: "soft about" },
            each.kind === "kfold"
              ? t("eval_how_folds")
              : (each.titles.models || []).map((title, i) =>
                  h(
                    "span",
                    { class: "side" },
                    each.titles.models.length > 1 ? h("i", { class: `which ${i ? "second" : "first"}` }) : null,
                    " ",
                    L.clip(title, 44),
                  ),
                ),
          ),
        ),
      ),
    ),
  );
