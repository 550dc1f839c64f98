/* One model, or two side by side: their figures. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr, wide } from "../lib/table.js";
import { whisker } from "./plots.js";
import { which } from "./record-table.js";
import { SHARES } from "./state.js";

export const shown = (key, value) =>
  value === null
    ? "–"
    : SHARES.includes(key)
      ? L.percent(value, 1)
      : key === "tokens" || key === "chrf"
        ? L.num(value, 1)
        : L.num(value, 3);
export const signed = (key, value) =>
  (value > 0 ? "+" : "") +
  (SHARES.includes(key) ? `${L.num(value * 100, 1)}` : L.num(value, key === "tokens" || key === "chrf" ? 1 : 3));
export const names = (result) => result.models.map((model, i) => nth(which(i), " ", L.clip(model.title, 26)));
export const figures = (result) =>
  h(
    "section",
    { class: "box" },
    wide(
      table(
        { class: "figures" },
        [
          th(t("eval_figure")),
          names(result),
          result.models.length > 1 ? [nth(t("eval_change")), h("th", { class: "wide" }, t("eval_sure"))] : null,
        ],
        result.figures.map((figure) => {
          const word = figure.key === "loss" && result.kind !== "answers" ? "loss_text" : figure.key,
            help = L.help(t(`eval_h_${word}`), t(`eval_f_${word}`)),
            change = figure.difference;
          return tr(
            td(
              t(`eval_f_${word}`),
              help,
              SHARES.slice(0, 2).includes(figure.key)
                ? h("span", { class: "soft small" }, ` n\u00a0=\u00a0${L.int(figure.n)}`)
                : null,
            ),
            figure.values.map((value, i) =>
              h(
                "td",
                { class: `n ${figure.better === i ? "better" : ""}` },
                shown(figure.key, value),
                figure.intervals
                  ? h(
                      "span",
                      { class: "soft small n" },
                      ` ${figure.intervals[i].map((end) => shown(figure.key, end)).join(" … ")}`,
                    )
                  : null,
                figure.better === i ? h("span", { class: "unseen" }, ` ${t("eval_clear")}`) : null,
              ),
            ),
            result.models.length > 1
              ? [
                  ntd(change ? signed(figure.key, change.value) : "–"),
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
  );
