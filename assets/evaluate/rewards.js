/* How often reward models give the preferred answer the higher number: by kind of record, and pair by pair. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr, wide } from "../lib/table.js";
import { names, signed } from "./models.js";
import { mark, opener, recordTable } from "./record-table.js";
import { state } from "./state.js";

const share = ({ accuracy, low, high }) => [
  L.percent(accuracy),
  h("span", { class: "soft small" }, ` (${L.percent(low)} – ${L.percent(high)})`),
];

export const rewarded = (result) => {
  const [all, ...categories] = result.categories,
    change = result.difference;
  const line = (name, each, strong) =>
    h(
      "tr",
      { class: strong ? "total" : "" },
      td(name, h("span", { class: "soft small" }, ` n = ${L.int(each.n)}`)),
      each.values.map((value) => ntd(share(value))),
      each.values.map((value) => ntd(L.num(value.margin, 2))),
    );
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_rewards_title"), " ", L.help(t("eval_rewards_help"), t("eval_rewards_title"))),
    wide(
      table(
        { class: "figures" },
        [th(t("eval_rewards_kind")), names(result), result.models.map(() => nth(t("eval_rewards_margin")))],
        line(t("eval_rewards_all"), all, true),
        categories.map((each) => line(L.clip(each.name, 60), each, false)),
        result.mean
          ? tr(
              td(t("eval_rewards_mean")),
              result.mean.map((value) => ntd(L.percent(value))),
              result.models.map(() => td()),
            )
          : null,
      ),
    ),
    categories.length ? null : h("p", { class: "cap block" }, t("eval_rewards_no_kinds")),
    change
      ? h(
          "p",
          { class: "cap block" },
          t("eval_rewards_change", {
            value: signed("exact", change.value),
            low: signed("exact", change.low),
            high: signed("exact", change.high),
          }),
        )
      : null,
  );
};

const verdict = ([chosen, rejected]) => mark(chosen === null || rejected === null ? null : chosen > rejected);
export const rewardedRecords = (result) =>
  recordTable({
    above: h("h2", {}, t("eval_records")),
    head: [th(t("eval_col_prompt")), th(t("eval_rewards_kind")), names(result)],
    records: state.records,
    line: (record) => [opener(record), td(L.clip(record.kind, 30)), record.rewards.map((pair) => ntd(verdict(pair)))],
    sides: (record) =>
      ["chosen", "rejected"].map((key, i) =>
        h(
          "div",
          {},
          h("h3", {}, t(`eval_rewards_${key}`)),
          h("p", {}, record[key]),
          h("p", { class: "cap" }, record.rewards.map((pair) => L.num(pair[i], 3)).join(" · ")),
        ),
      ),
  });
