/* The loss of one record in numbers: tokens, classes or a pair of answers, before training and after it. */
import { clip, int, num } from "../lib/format.js";
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";

const short = (value) => num(value, 2);
const p = (value) =>
  value >= 0.001 || value === 0 ? `${num(100 * value, value < 0.1 ? 2 : 1)} %` : `${value.toExponential(1)}`;
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
const pairTable = (found) => {
  const times = [
    ["learn_before", found.before],
    ["learn_after", found.after],
  ].filter(([, each]) => each);
  const { refers } = found.before;
  const isMean = found.before.target !== null || !refers;
  const gain = (each, key) => each.policy[key] - each.reference[key];
  const single = (name, of) =>
    h(
      "tr",
      { class: "total" },
      h("td", {}, name),
      times.map(([, each]) => h("td", { class: "n split", colspan: 3 }, of(each))),
    );
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td", {}),
        times.map(([key]) =>
          h("th", { class: "over split", colspan: 3 }, t(key, { run: clip(found.run_name || "", 30) })),
        ),
      ),
      h(
        "tr",
        {},
        h("th", {}, t("learn_answer")),
        times.map(() => [
          h("th", { class: "n split" }, t("learn_policy")),
          h("th", { class: "n" }, t(refers ? "learn_reference" : "learn_tokens")),
          h("th", { class: "n" }, t(refers ? "learn_gain" : "learn_per_token")),
        ]),
      ),
    ),
    h(
      "tbody",
      {},
      ["chosen", "rejected"].map((key) =>
        h(
          "tr",
          {},
          h(
            "td",
            { class: "piece", title: found.before.answers[key] },
            `${t(`data_role_${key}`)}: ${clip(found.before.answers[key], 24)}`,
          ),
          times.map(([, each]) => [
            h("td", { class: "n split" }, short(each.policy[key])),
            h("td", { class: "n" }, refers ? short(each.reference[key]) : int(each.lengths[key])),
            h("td", { class: "n" }, short(refers ? gain(each, key) : each.policy[key] / each.lengths[key])),
          ]),
        ),
      ),
      single(t(isMean ? "learn_margin_mean" : "learn_margin"), (each) => short(each.margin)),
      found.before.target !== null && refers
        ? single(t("learn_target", { beta: found.beta }), (each) => short(each.target))
        : single(t("learn_scaled", { beta: found.beta }), (each) => short(each.scaled)),
      single(t("learn_loss"), (each) => num(each.loss, 3)),
    ),
  );
};
export const TABLES = { chat: tokenTable, text: tokenTable, classify: classTable, preference: pairTable };
