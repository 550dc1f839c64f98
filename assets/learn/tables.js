/* The loss of one record in numbers: tokens, classes or a pair of answers, before training and after it. */
import { clip, int, percent } from "../lib/format.js";
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";
import { kto, pair, policy, reward, short } from "./pair-tables.js";

const p = (value) =>
  value >= 0.001 || value === 0 ? percent(value, value < 0.1 ? 2 : 1) : `${value.toExponential(1)}`;
const chance = (value) => [
  p(value),
  h("span", { class: "bar", "aria-hidden": "true" }, h("i", { style: `width:${(100 * value).toFixed(1)}%` })),
];
const cells = (each) =>
  each
    ? [
        h("td", { class: "n split" }, short(each.logit)),
        h("td", { class: "n" }, chance(each.probability)),
        h("td", { class: "n" }, short(each.surprise)),
      ]
    : [];
const heads = (found) => [
  h(
    "tr",
    {},
    h("td", {}),
    h("th", { class: "over split", colspan: 3 }, t("learn_before")),
    found.after
      ? h("th", { class: "over split", colspan: 3 }, t("learn_after", { run: clip(found.run_name, 30) }))
      : null,
  ),
  h(
    "tr",
    {},
    h("th", {}, t(found.task === "classify" ? "learn_class" : "learn_token")),
    [found.before, found.after]
      .filter(Boolean)
      .map(() => [
        h("th", { class: "n split" }, t("learn_logit")),
        h("th", { class: "n" }, t("learn_probability")),
        h("th", { class: "n" }, t("learn_surprise")),
      ]),
  ),
];
const visible = (text) => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "·");
const total = (each) =>
  each ? [h("td", { class: "n split", colspan: 2 }), h("td", { class: "n" }, short(each.loss))] : [];

const tokenTable = (found) =>
  h(
    "table",
    {},
    h("thead", {}, heads(found)),
    h(
      "tbody",
      {},
      found.before.rows.map((each, k) =>
        h(
          "tr",
          {},
          h(
            "td",
            {
              class: "piece",
              title: each.best === each.text ? null : `${visible(each.best)} ${p(each.best_probability)}`,
            },
            visible(each.text),
          ),
          cells(each),
          found.after ? cells(found.after.rows[k]) : null,
        ),
      ),
      h(
        "tr",
        { class: "total" },
        h("td", {}, t("learn_mean", { n: int(found.before.trained) })),
        total(found.before),
        total(found.after),
      ),
    ),
  );
const classTable = (found) =>
  h(
    "table",
    {},
    h("thead", {}, heads(found)),
    h(
      "tbody",
      {},
      found.before.rows.map((each) =>
        h(
          "tr",
          { class: each.name === found.before.label ? "total" : "" },
          h("td", { class: "piece" }, each.name, each.name === found.before.label ? ` · ${t("learn_right")}` : ""),
          cells(each),
          found.after ? cells(found.after.rows.find((other) => other.name === each.name)) : null,
        ),
      ),
      found.before.classes > found.before.rows.length
        ? h(
            "tr",
            {},
            h(
              "td",
              { class: "soft" },
              t("learn_classes", { n: found.before.rows.length, total: int(found.before.classes) }),
            ),
            h("td", { class: "split", colspan: found.after ? 6 : 3 }),
          )
        : null,
      h("tr", { class: "total" }, h("td", {}, t("learn_loss")), total(found.before), total(found.after)),
    ),
  );
export const TABLES = {
  chat: tokenTable,
  text: tokenTable,
  classify: classTable,
  preference: pair,
  reward,
  kto,
  grpo: policy,
};
