/* What a judge says: who wins, what each answer is worth, and how far a class's votes agree. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { whisker, winBar } from "./plots.js";
import { page, state } from "./state.js";

export const judged = (result) => {
  const { tally, error, criteria, grading } = result.judge;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, tally ? t("eval_win", { title: result.models[0].title }) : t("eval_grades")),
    error ? L.notice(error) : null,
    tally?.n
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
        ]
      : null,
    grades(
      result.judge,
      result.models.map((model) => model.title),
    ),
    said(result.judge),
    grading === "reward" ? null : h("p", { class: "soft small" }, criteria),
  );
};

/* What there is to be said of the judging itself, in one line, and what kept to no form. */
const said = (judge) => {
  const { tally } = judge;
  const parts = [
    judge.of > judge.pairs ? t("eval_judge_first", { n: L.int(judge.pairs), of: L.int(judge.of) }) : "",
    typeof tally?.agreement === "number" ? t("eval_agreement", { share: L.percent(tally.agreement) }) : "",
    tally?.equal ? t("eval_judge_equal", { n: L.int(tally.equal) }) : "",
    tally?.scores && !judge.grades
      ? t("eval_scores", { first: L.num(tally.scores[0], 2), second: L.num(tally.scores[1], 2) })
      : "",
    tally?.unclear ? t("eval_judge_unclear", { n: tally.unclear }) : "",
    judge.off_form ? t("eval_off_form", { n: L.int(judge.off_form), of: L.int(judge.asked) }) : "",
    judge.long ? t("eval_judge_long", { n: L.int(judge.long), of: L.int(judge.asked) }) : "",
    t("eval_judged_by", { judge: L.clip(judge.judge, 60) }),
  ];
  return [
    h("p", { class: "cap block" }, parts.filter(Boolean).join(" · ")),
    judge.example
      ? h("details", { class: "advanced" }, h("summary", {}, t("eval_off_form_example")), h("p", {}, judge.example))
      : null,
  ];
};

/* The mean grade of each side with its interval, how often each grade was given, and the difference. */
const grades = (judge, titles) => {
  const known = (judge.grades || []).filter((each) => each.n);
  if (!known.length) return null;
  const points = judge.grading === "absolute",
    change = judge.difference;
  return [
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
            h("th", {}, ""),
            h("th", { class: "n" }, t(points ? "eval_grade_mean" : "eval_reward_mean")),
            points ? [1, 2, 3, 4, 5].map((score) => h("th", { class: "n" }, L.int(score))) : null,
          ),
        ),
        h(
          "tbody",
          {},
          judge.grades.map((each, i) =>
            h(
              "tr",
              {},
              h("td", {}, h("i", { class: `which ${i ? "second" : "first"}` }), " ", L.clip(titles[i] || "", 40)),
              h("td", { class: "n" }, L.num(each.mean, 2), h("span", { class: "soft small" }, ` ${reach(each)}`)),
              points ? each.counts.map((count) => h("td", { class: "n" }, count ? L.int(count) : "·")) : null,
            ),
          ),
        ),
      ),
    ),
    change
      ? h(
          "p",
          { class: "cap block judge-change" },
          t("eval_grade_change", {
            value: signed(change.value),
            low: signed(change.low),
            high: signed(change.high),
          }),
          " ",
          whisker(change, change.low > 0 || change.high < 0),
        )
      : null,
  ];
};
const signed = (value) => (value > 0 ? "+" : "") + L.num(value, 2);
const reach = (each) => (each.low === null ? "" : `(${L.num(each.low, 2)} – ${L.num(each.high, 2)})`);

/* What the judge wrote of a record's answers: a grade each, or both orders' choice. */
export const opinions = (record, place) => {
  const judge = state.result.judge;
  if (!record.opinions || !judge || judge.grading === "scores") return null;
  const one = record.opinions[place];
  if (!one) return null;
  const result =
    one.result === null
      ? t("eval_no_grade")
      : judge.grading === "absolute"
        ? `${one.result} / 5`
        : judge.grading === "reward"
          ? L.num(one.result, 3)
          : t(one.result ? "eval_better_second" : "eval_better_first");
  return h(
    "div",
    { class: "opinion" },
    h(
      "p",
      { class: "cap" },
      judge.grading === "relative" ? t(place ? "eval_order_second" : "eval_order_first") : "",
      " ",
      h("b", {}, result),
    ),
    one.feedback ? h("p", { class: "soft" }, one.feedback) : null,
  );
};

// ---- beside a class's votes
const SIDES = ["first", "second", "neither"];
export const againstVotes = (result) => {
  const { agreement, judge } = result;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("eval_votes_title")),
    judge.error ? L.notice(judge.error) : null,
    agreement
      ? [
          h("p", {}, h("b", { class: "big" }, kappa(agreement)), " ", L.help(t("eval_kappa_help"), t("eval_kappa"))),
          h("p", { class: "cap block" }, [
            t("eval_votes_share", { share: L.percent(agreement.share), n: L.int(agreement.n) }),
            agreement.voters
              ? ` · ${t("eval_votes_voters", { share: L.percent(agreement.voters.share) })}`
              : ` · ${t("eval_votes_single")}`,
          ]),
          table(agreement),
        ]
      : null,
    said(judge),
    judge.grading === "reward" ? null : h("p", { class: "soft small" }, judge.criteria),
  );
};
const kappa = ({ kappa: value, low, high }) =>
  value === null
    ? t("eval_kappa_none")
    : t("eval_kappa_is", {
        value: L.num(value, 2),
        low: low === null ? "–" : L.num(low, 2),
        high: high === null ? "–" : L.num(high, 2),
      });
const table = (agreement) =>
  h(
    "div",
    { class: "scroll", tabindex: 0 },
    h(
      "table",
      { class: "figures votes-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", {}, t("eval_votes_rows")),
          SIDES.map((side) => h("th", { class: "n" }, t(`eval_side_${side}`))),
        ),
      ),
      h(
        "tbody",
        {},
        SIDES.map((side, i) =>
          h(
            "tr",
            {},
            h("td", {}, t(`eval_side_${side}`)),
            agreement.table[i].map((count, j) => h("td", { class: `n ${i === j ? "better" : ""}` }, L.int(count))),
          ),
        ),
      ),
    ),
  );

export const votedRecords = (result, { unfold }) => {
  const side = (value) => t(`eval_side_${SIDES[value]}`);
  const judge = (record) => (record.verdict?.clear ? side(record.verdict.winner ?? 2) : "–");
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
      h("td", { class: "n" }, record.votes.map((count) => L.int(count)).join(" : ")),
      h("td", {}, side(record.majority)),
      h("td", {}, judge(record)),
    );
  const rows = state.all ? state.records : state.records.slice(0, 20);
  return h(
    "section",
    { class: "box records" },
    h("h2", {}, t("eval_records")),
    h("p", { class: "cap block" }, t("eval_votes_order")),
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        { class: "voted" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["prompt", "votes", "class", "judge"].map((key) => h("th", {}, t(`eval_votes_${key}`))),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((record) => [line(record), state.open?.index === record.index ? both(state.open) : null]),
        ),
      ),
    ),
    state.records.length > rows.length
      ? L.button(
          t("eval_show_all", { n: L.int(state.records.length) }),
          () => {
            state.all = true;
            page.draw();
          },
          "quiet",
          { "data-key": "all" },
        )
      : null,
  );
};
const both = (record) =>
  h(
    "tr",
    { class: "unfolded" },
    h(
      "td",
      { colspan: 4 },
      h("p", { class: "prompt" }, record.prompt),
      h(
        "div",
        { class: "sides" },
        record.answers.map((answer, i) =>
          h(
            "div",
            {},
            h("h3", {}, h("i", { class: `which ${i ? "second" : "first"}` }), " ", L.clip(record.lanes[i], 40)),
            h("p", {}, answer || t("eval_answer_none")),
            opinions(record, i),
          ),
        ),
      ),
    ),
  );
