/* Cross-validation, fold by fold. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr, wide } from "../lib/table.js";

export const folds = (result) => {
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
    wide(
      table(
        {},
        [th(t("eval_fold")), keys.map(([, name]) => nth(name))],
        result.folds.map((fold) =>
          tr(
            td(`${fold.fold + 1} · ${L.int(fold.n)} ${t("unit_records")}`),
            keys.map(([key]) => ntd(L.num(fold.model[key], 3))),
          ),
        ),
        whos
          .filter(([who]) => result.spread[who])
          .map(([who, name]) =>
            h(
              "tr",
              { class: who === "model" ? "sum" : "" },
              th(`${name}, ${t("eval_mean")}`),
              keys.map(([key]) => ntd(mean(who, key))),
            ),
          ),
      ),
    ),
  );
};
