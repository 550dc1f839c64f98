/* What a classifier takes for what: the matrix, class by class, how sure it is, its mistakes. */
import * as L from "../lib/panel.js";
import { square } from "../lib/chart/square.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr, wide } from "../lib/table.js";
import { showAll } from "./record-table.js";
import { FIRST, GOOD, SECOND, state } from "./state.js";

export const confusion = (labels, model) => {
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
    wide(
      table(
        { class: "confusion" },
        [th(`${t("eval_truth")} ↓ ${t("eval_taken")} →`), labels.map((label) => nth(L.clip(label, 16)))],
        model.confusion.map((row, i) =>
          tr(
            th(L.clip(labels[i], 16)),
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
  );
};
export const reliability = (model) => {
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
    h("figcaption", { class: "cap" }, `${t("eval_reliability")} · ${t("eval_ece")} ${L.num(model.ece, 3)}`),
  );
};
export const perClass = (labels, model) =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_classes")),
    h(
      "div",
      { class: "scroll tall" },
      table(
        {},
        [t("eval_class"), t("eval_precision"), t("eval_recall"), t("eval_f1"), t("eval_support")].map((name, i) =>
          i ? nth(name) : th(name),
        ),
        model.classes.slice(0, 200).map((each) =>
          tr(
            td(each.label),
            [each.precision, each.recall, each.f1].map((value) => ntd(each.support ? L.num(value, 3) : "–")),
            ntd(L.int(each.support)),
          ),
        ),
      ),
    ),
  );
const mistaken = ({ label, predicted, probability }) =>
  t("eval_mistake", { label, predicted, share: L.percent(probability) });
export const mistakes = (model) =>
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
    showAll(model.mistakes.length, state.all ? Infinity : 8),
  );
