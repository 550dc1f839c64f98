/* What a run's model knew before, as it learns: right answers and loss by class of knowledge, what was lost and
   learned. */
import { keyOf, plots } from "../lib/chart/lines.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { page, view } from "./state.js";

const CLASSES = [
  ["highly", "var(--topp)"],
  ["maybe", "var(--greedy)"],
  ["weakly", "var(--topk)"],
  ["unknown", "var(--beam)"],
];
const LISTED = 20;
const share = (v) => L.percent(v);

const lineOf = (evaluations, name, color, trained, value, over) => {
  const found = evaluations.flatMap((each) => {
    const group = each.groups.find((one) => one.class === name && one.trained === trained);
    return group && group.n && group.loss !== null ? [{ at: each[over], value: value(group), n: group.n }] : [];
  });
  return {
    name: `${t(`probe_${name}`)} (${L.int(found[0]?.n || 0)})`,
    short: t(`probe_${name}`),
    color,
    x: found.map((each) => each.at),
    y: found.map((each) => each.value),
  };
};
const chartOf = (evaluations, over, key, trained, value, more) => ({
  title: t(key),
  label: t(key),
  lines: CLASSES.map(([name, color]) => lineOf(evaluations, name, color, trained, value, over)).filter(
    (line) => line.x.length,
  ),
  ...more,
});

const row = (each) =>
  h(
    "tr",
    { key: each.index },
    h("td", { class: "excerpt" }, L.clip(each.question, 160)),
    h("td", {}, L.clip(each.expected, 80)),
    h("td", { class: "soft" }, L.clip(each.answer, 80) || "–"),
    h("td", { class: "soft" }, t(`probe_${each.class}`)),
    h("td", { class: "n" }, each.step === null ? t("known_before") : L.int(each.step)),
  );
const listOf = (known) => {
  const kinds = ["lost", "learned"].filter((key) => known[key].length);
  if (!kinds.length) return h("p", { class: "soft small" }, t("known_none"));
  const shown = kinds.includes(view.known) ? view.known : kinds[0];
  const choose = (key) => {
    view.known = key;
    page.draw();
  };
  const heads = ["probe_question", "probe_right", "probe_said", "known_class", `known_${shown}_step`];
  return [
    L.choice(
      t("probe_show"),
      kinds.map((key) => /** @type {[string, string]} */ ([key, `${t(`probe_${key}`)} ${L.int(known[key].length)}`])),
      shown,
      choose,
    ),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "samples" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map((key) => h("th", { scope: "col" }, t(key))),
          ),
        ),
        h("tbody", {}, known[shown].slice(0, LISTED).map(row)),
      ),
    ),
    known[shown].length > LISTED ? h("p", { class: "soft small" }, t("known_more", { n: L.int(LISTED) })) : null,
  ];
};

/**
 * The box of a run; null where no probe of its data is known.
 * @param {{knowledge?: any, status?: any}} run
 */
export const knowledgeBox = ({ knowledge: known, status }) => {
  if (!known?.evaluations?.length) return null;
  const over = view.over === "seconds" ? "seconds" : "step";
  const right = (group) => group.right / group.n;
  const loss = (group) => group.loss;
  const of = (key, trained, value, more) => chartOf(known.evaluations, over, key, trained, value, more);
  const charts = [
    of("known_right_trained", true, right, { yFormat: share, limits: [0, 1] }),
    of("known_loss_trained", true, loss),
    of("known_right_held", false, right, { yFormat: share, limits: [0, 1] }),
  ].filter((chart) => chart.lines.length);
  const keys = new Map(charts.flatMap((chart) => chart.lines).map((line) => [line.short, line]));
  return h(
    "section",
    { class: "box", id: "run-knowledge" },
    h("h2", {}, t("known_title")),
    h("p", { class: "soft small" }, t("known_about", { n: L.int(known.records) })),
    charts.length ? h("p", { class: "cap" }, charts[0].title) : null,
    plots(charts, {
      xName: over === "step" ? t("plot_step") : "",
      xFormat: over === "step" ? L.int : L.duration,
      xMax: over === "step" ? status?.total_steps || 0 : 0,
      empty: t("plot_empty"),
      label: t("known_title"),
    }),
    h(
      "div",
      { class: "cap" },
      h(
        "span",
        { class: "keys" },
        [...keys.values()].map((line) => h("span", { class: "key" }, keyOf(line), line.short)),
      ),
    ),
    listOf(known),
  );
};
