/* A classifier against the simple models: figures, and the probability from which it says a class. */
import * as L from "../lib/panel.js";
import { square } from "../lib/chart/square.js";
import { h, t } from "../lib/panel.js";
import { confusion, mistakes, perClass, reliability } from "./mistakes.js";
import { nth, table, td, th, tr, wide } from "../lib/table.js";
import { FIRST, page, state } from "./state.js";

export const classified = (result) => {
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
export const fitTime = (seconds) => (seconds < 10 ? t("seconds", { n: L.num(seconds, 1) }) : L.duration(seconds));
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
    wide(
      table(
        {},
        [th(t("eval_who")), columns.map(([name]) => nth(name))],
        rows.map((row) =>
          tr(
            td(
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
                        page.draw();
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
    page.draw();
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
    page.draw();
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
