/* What a judge says: who wins, what each answer is worth, and how far a class's votes agree. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr, wide } from "../lib/table.js";
import { whisker, winBar } from "./plots.js";
import { opener, recordTable, which } from "./record-table.js";
import { state } from "./state.js";

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

/** What there is to be said of the judging itself, in one line, and what kept to no form. */
export const said = (judge) => {
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
    wide(
      table(
        { class: "figures" },
        [
          th(),
          nth(t(points ? "eval_grade_mean" : "eval_reward_mean")),
          points ? [1, 2, 3, 4, 5].map((score) => nth(L.int(score))) : null,
        ],
        judge.grades.map((each, i) =>
          tr(
            td(which(i), " ", L.clip(titles[i] || "", 40)),
            ntd(L.num(each.mean, 2), h("span", { class: "soft small" }, ` ${reach(each)}`)),
            points ? each.counts.map((count) => ntd(count ? L.int(count) : "·")) : null,
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
          votesTable(agreement),
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
const votesTable = (agreement) =>
  wide(
    table(
      { class: "figures votes-table" },
      [th(t("eval_votes_rows")), SIDES.map((side) => nth(t(`eval_side_${side}`)))],
      SIDES.map((side, i) =>
        tr(
          td(t(`eval_side_${side}`)),
          agreement.table[i].map((count, j) => h("td", { class: `n ${i === j ? "better" : ""}` }, L.int(count))),
        ),
      ),
    ),
  );

export const votedRecords = () => {
  const side = (value) => t(`eval_side_${SIDES[value]}`);
  const judge = (record) => (record.verdict?.clear ? side(record.verdict.winner ?? 2) : "–");
  return recordTable({
    above: [h("h2", {}, t("eval_records")), h("p", { class: "cap block" }, t("eval_votes_order"))],
    name: "voted",
    head: ["prompt", "votes", "class", "judge"].map((key) => th(t(`eval_votes_${key}`))),
    records: state.records,
    line: (record) => [
      opener(record),
      ntd(record.votes.map((count) => L.int(count)).join(" : ")),
      td(side(record.majority)),
      td(judge(record)),
    ],
    sides: (record) =>
      record.answers.map((answer, i) =>
        h(
          "div",
          {},
          h("h3", {}, which(i), " ", L.clip(record.lanes[i], 40)),
          h("p", {}, answer || t("eval_answer_none")),
          opinions(record, i),
        ),
      ),
  });
};
