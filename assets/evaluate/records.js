/* An evaluation record by record. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { ntd } from "../lib/table.js";
import { opinions } from "./judged.js";
import { differing } from "./plots.js";
import { mark, onlyDiffering, opener, recordTable, which } from "./record-table.js";
import { page, parts, state } from "./state.js";

export const records = (result) => {
  if (!state.records.length && !state.differ) return null;
  const two = result.models.length > 1,
    answers = result.kind === "answers";
  /** @type {any[][]} */
  const columns = [
    ["row", t("eval_col_row"), (r) => r.row],
    ["prompt", t(result.kind === "answers" ? "eval_col_prompt" : "eval_col_text"), (r) => r.prompt],
  ];
  result.models.forEach((_, i) => columns.push([`loss${i}`, t("eval_col_loss"), (r) => r.loss[i], i]));
  if (answers)
    for (const [key, name, of] of /** @type {any[][]} */ ([
      ["right", t("eval_col_right"), rank],
      ["rouge", t("eval_col_rouge"), (r, i) => r.rouge_l[i]],
    ]))
      result.models.forEach((_, i) => columns.push([`${key}${i}`, name, (r) => of(r, i), i]));
  if (state.records.some((r) => r.verdict))
    columns.push(["verdict", t("eval_col_verdict"), (r) => (r.verdict ? (r.verdict.winner ?? 0.5) : -1)]);
  const value = columns.find(([key]) => key === state.sort.key)?.[2] || columns[0][2];
  let rows = state.records.filter((r) => !two || !state.differ || r.differs);
  rows = [...rows].sort((a, b) => {
    const x = value(a),
      y = value(b),
      way = state.sort.down ? -1 : 1;
    return x === y ? a.row - b.row : x === null ? 1 : y === null ? -1 : x < y ? -way : way;
  });
  const header = ([key, text, , i]) =>
    h(
      "th",
      {
        class: key === "prompt" ? "" : "n",
        "aria-sort": state.sort.key === key ? (state.sort.down ? "descending" : "ascending") : "none",
      },
      h(
        "button",
        {
          type: "button",
          class: "sorter",
          "data-key": `sort-${key}`,
          onclick: () => {
            state.sort = { key, down: state.sort.key === key ? !state.sort.down : false };
            page.draw();
          },
        },
        i === undefined || !two ? null : which(i),
        " ",
        text,
        state.sort.key === key ? (state.sort.down ? " ↓" : " ↑") : "",
      ),
    );
  const csv = () => parts.trigger("submit", { evaluation_id: state.status.evaluation_id });
  return recordTable({
    above: [
      h(
        "div",
        { class: "boxline" },
        h("h2", {}, t("eval_records")),
        h(
          "span",
          { class: "acts" },
          two ? onlyDiffering(t("eval_only_differ")) : null,
          L.button(t("eval_csv"), csv, "quiet", { "data-key": "csv" }),
        ),
      ),
      state.of > state.records.length
        ? h("p", { class: "cap block" }, t("eval_first_rows", { n: L.int(state.records.length), of: L.int(state.of) }))
        : null,
    ],
    head: columns.map(header),
    records: rows,
    line: (record) => line(record, columns),
    sides,
  });
};
const rank = (record, i) => (record.exact[i] === null ? -1 : record.exact[i] ? 2 : record.normalised[i] ? 1 : 0);
const line = (record, columns) =>
  columns.map(([key, , value, i]) => {
    if (key === "row") return ntd(L.int(record.row));
    if (key === "prompt") return opener(record, 90);
    if (key.startsWith("right")) return ntd(ranked(rank(record, i)));
    if (key === "verdict")
      return ntd(record.verdict ? (record.verdict.winner === null ? "=" : which(record.verdict.winner)) : "–");
    const here = value(record),
      other = columns.filter(([k]) => k.slice(0, -1) === key.slice(0, -1)).map(([, , v]) => v(record));
    const best = key.startsWith("loss") ? Math.min(...other) : Math.max(...other);
    return h(
      "td",
      { class: `n ${other.length > 1 && other[0] !== other[1] && here === best ? "ahead" : ""}` },
      L.num(here, key.startsWith("loss") ? 3 : 2),
    );
  });
const ranked = (value) =>
  value === 1 ? h("span", { title: t("eval_form") }, "≈") : mark(value < 0 ? null : value === 2);
const sides = (record) =>
  record.reference === undefined
    ? null
    : [
        h(
          "div",
          {},
          h("h3", {}, t("eval_reference")),
          [record.reference, ...(record.alternatives || [])].map((text) => h("p", {}, text)),
        ),
        record.answers.map((answer, i) =>
          h(
            "div",
            {},
            h("h3", {}, which(i), " ", L.clip(state.result.models[i].title, 40)),
            h(
              "p",
              {},
              record.long[i]
                ? t("eval_too_long")
                : answer
                  ? differing(answer, record.reference)
                  : t("eval_answer_none"),
            ),
            h(
              "p",
              { class: "cap" },
              [
                `${L.int(record.tokens[i])} ${t("unit_tokens")}`,
                record.ended[i] ? "" : t("eval_did_not_end"),
                record.verdict?.scores ? `${L.num(record.verdict.scores[i], 1)} / 5` : "",
              ]
                .filter(Boolean)
                .join(" · "),
            ),
            opinions(record, i),
          ),
        ),
      ];
