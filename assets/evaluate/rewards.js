/* How often reward models give the preferred answer the higher number: by kind of record, and pair by pair. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { names, signed } from "./models.js";
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
      h("td", {}, name, h("span", { class: "soft small" }, ` n = ${L.int(each.n)}`)),
      each.values.map((value) => h("td", { class: "n" }, share(value))),
      each.values.map((value) => h("td", { class: "n" }, L.num(value.margin, 2))),
    );
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_rewards_title"), " ", L.help(t("eval_rewards_help"), t("eval_rewards_title"))),
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
            h("th", {}, t("eval_rewards_kind")),
            names(result),
            result.models.map(() => h("th", { class: "n" }, t("eval_rewards_margin"))),
          ),
        ),
        h(
          "tbody",
          {},
          line(t("eval_rewards_all"), all, true),
          categories.map((each) => line(L.clip(each.name, 60), each, false)),
          result.mean
            ? h(
                "tr",
                {},
                h("td", {}, t("eval_rewards_mean")),
                result.mean.map((value) => h("td", { class: "n" }, L.percent(value))),
                result.models.map(() => h("td", {})),
              )
            : null,
        ),
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

const verdict = ([chosen, rejected]) => {
  if (chosen === null || rejected === null) return "–";
  return chosen > rejected
    ? h("span", { class: "yes" }, "✓", h("span", { class: "unseen" }, t("eval_yes")))
    : h("span", { class: "no" }, "✗", h("span", { class: "unseen" }, t("eval_no")));
};
export const rewardedRecords = (result, { unfold, all }) => {
  const rows = state.all ? state.records : state.records.slice(0, 20);
  const line = (record) =>
    h(
      "tr",
      { class: state.open?.index === record.index ? "on" : "" },
      h(
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
          L.clip(record.prompt, 80) || "–",
        ),
      ),
      h("td", {}, L.clip(record.kind, 30)),
      record.rewards.map((pair) => h("td", { class: "n" }, verdict(pair))),
    );
  return h(
    "section",
    { class: "box records" },
    h("h2", {}, t("eval_records")),
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, h("th", {}, t("eval_col_prompt")), h("th", {}, t("eval_rewards_kind")), names(result)),
        ),
        h(
          "tbody",
          {},
          rows.map((record) => [line(record), state.open?.index === record.index ? both(state.open, result) : null]),
        ),
      ),
    ),
    state.records.length > rows.length
      ? L.button(t("eval_show_all", { n: L.int(state.records.length) }), all, "quiet", { "data-key": "all" })
      : null,
  );
};
const both = (record, result) =>
  h(
    "tr",
    { class: "unfolded" },
    h(
      "td",
      { colspan: 2 + result.models.length },
      h("p", { class: "prompt" }, record.prompt),
      h(
        "div",
        { class: "sides" },
        ["chosen", "rejected"].map((key, i) =>
          h(
            "div",
            {},
            h("h3", {}, t(`eval_rewards_${key}`)),
            h("p", {}, record[key]),
            h("p", { class: "cap" }, record.rewards.map((pair) => L.num(pair[i], 3)).join(" · ")),
          ),
        ),
      ),
    ),
  );
