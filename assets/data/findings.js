/* What was found in a data set and what is left out of it, and what may be taken along. `page` is the data
   panel's state with ask, fail, draw, open and turn. */
import * as L from "../lib/panel.js";
import { h, has, t } from "../lib/panel.js";
import { rowLink } from "./record.js";

export const findings = (page) => {
  const { kinds, info } = page.report;
  const out = info.rows - info.kept;
  const title = h("h2", {}, out > 0 ? t("data_left_out", { n: L.int(out) }) : t("data_all_kept"));
  const found = kinds.length
    ? [switches(page), problemTable(page)]
    : h("p", { class: "soft" }, t("data_problems_none"));
  return h("section", { class: "box findings" }, title, filesTable(info), found, unusedLine(info), exportLine(page));
};

// Of a data set of several files, what came of each.
const filesTable = ({ source }) => {
  if (!source?.files?.length) return null;
  const problems = (file) => Object.values(file.problems || {}).reduce((sum, n) => sum + n, 0);
  const heads = [t("data_rows"), t("data_kept"), t("data_problems")].map((name) =>
    h("th", { class: "n", scope: "col" }, name),
  );
  const rows = source.files.map((file) =>
    h(
      "tr",
      {},
      h("td", {}, file.file, h("div", { class: "code" }, file.format)),
      [file.rows, file.kept, problems(file)].map((n) => h("td", { class: "n" }, L.int(n))),
    ),
  );
  return h(
    "div",
    { class: "by-file", tabindex: 0 },
    h(
      "table",
      { id: "data-files" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("data_file")), heads)),
      h("tbody", {}, rows),
    ),
  );
};

// Columns, and keys of turns, that hold something and play no part.
const unusedLine = (info) =>
  info.unused?.length
    ? h("p", { class: "soft small unused" }, t("data_unused", { names: info.unused.join(", ") }))
    : null;

const preview = L.newest((page, filters) =>
  page.ask("filter_dataset", { dataset_id: page.id, filters: [...filters], preview: true }),
);
const problemsOf = L.newest((page, code) => page.ask("problems", { dataset_id: page.id, code }));

// Filters are switches; a change makes a new version of the data set, and only when it is applied.
const switches = (page) => {
  const on = (page.filters = page.filters || new Set(page.report.info.filters));
  const changed = on.size !== page.report.info.filters.length || page.report.info.filters.some((code) => !on.has(code));
  const flip = async (code, wanted) => {
    wanted ? on.add(code) : on.delete(code);
    const answer = await preview(page, on);
    if (page.filters !== on) return; // another data set was opened meanwhile
    if (answer.error) return page.fail(answer.error);
    page.wouldKeep = answer.kept;
    page.draw();
  };
  const apply = () => page.change("filter_dataset", { dataset_id: page.id, filters: [...on] });
  const kinds = page.report.kinds.filter((kind) => kind.switchable);
  if (!kinds.length) return null;
  return h(
    "div",
    { class: "chips", role: "group", "aria-label": t("data_leave_out") },
    h("span", { class: "soft small" }, t("data_leave_out")),
    kinds.map((kind) =>
      h(
        "label",
        { class: "chip" },
        h("input", {
          type: "checkbox",
          checked: on.has(kind.code),
          "data-key": `code-${kind.code}`,
          onchange: (event) => flip(kind.code, event.target.checked),
        }),
        h("span", {}, kindName(kind)),
        h("b", {}, L.int(kind.count)),
      ),
    ),
    changed
      ? h(
          "span",
          { class: "apply" },
          h(
            "span",
            { class: "soft small", role: "status" },
            t("data_would_keep", { n: L.int(page.wouldKeep ?? page.report.info.kept) }),
          ),
          L.button(t("data_apply"), apply, "", { "data-key": "apply" }),
        )
      : null,
  );
};

/* A kind of problem and a problem in the reader's language, by its code; else what the server says. */
const kindName = ({ code, title }) => (has(`problem_${code}`) ? t(`problem_${code}`) : title);
const saying = ({ code, message, title, other }) => {
  if (has(`problem_says_${code}`)) return t(`problem_says_${code}`, { other: L.int(other) });
  return L.lang === "en" ? message : kindName({ code, title }); // a row that made no record has its reason in English
};

/* Its kind, where what is said of it is not that already. */
const kindBeside = (problem) => (saying(problem) === kindName(problem) ? "" : kindName(problem));

const problemTable = (page) => {
  const { problems, kinds, total } = page.report,
    limit = page.more === page.id ? problems.length : 10;
  const only = async (code) => {
    const { report } = page;
    page.code = code;
    const answer = await problemsOf(page, code);
    if (page.report !== report) return; // another data set was opened meanwhile
    if (answer.error) return page.fail(answer.error);
    Object.assign(report, answer);
    page.draw();
  };
  const kind = L.menu({
    "aria-label": t("data_why"),
    "data-key": "kind",
    class: "small-select",
    value: page.code || "",
    options: [
      ["", t("data_every_kind")],
      ...kinds.map((each) => [each.code, `${kindName(each)} (${L.int(each.count)})`]),
    ],
    onchange: only,
  });
  return [
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { class: "n" }, t("data_row")),
            h("th", {}, kinds.length > 1 ? kind : t("data_why")),
            h("th", {}, t("data_what")),
            h("th", {}, t("data_happens")),
          ),
        ),
        h(
          "tbody",
          {},
          problems
            .slice(0, limit)
            .map((problem) =>
              h(
                "tr",
                {},
                h("td", { class: "n" }, rowLink(page, problem.row, problem.place)),
                h(
                  "td",
                  { class: "why" },
                  saying(problem),
                  h(
                    "div",
                    { class: "kind soft small" },
                    [kindBeside(problem), whereIn(problem)].filter(Boolean).join(" · "),
                  ),
                ),
                h("td", { class: "excerpt" }, problem.excerpt || ""),
                h("td", { class: "happens" }, happens(problem.action)),
              ),
            ),
        ),
      ),
    ),
    problems.length > limit
      ? L.button(
          t("data_more"),
          () => {
            page.more = page.id;
            page.draw();
          },
          "quiet",
          { "data-key": "more" },
        )
      : total > problems.length
        ? h("p", { class: "cap" }, t("data_first_only", { n: L.int(problems.length) }))
        : null,
  ];
};
const whereIn = ({ file, file_row: row }) => (file ? `${L.clip(file, 40)} ${L.int(row)}` : "");
const happens = (action) =>
  ({ "left out": t("data_dropped"), "kept, cut": t("data_cut"), kept: t("data_kept") })[action] || action;

const exportLine = (page) => {
  const report = async (kind) => {
    const answer = await page.ask("findings", { dataset_id: page.id, kind });
    if (answer.error) return page.fail(answer.error);
    L.save(`${page.id}-report.${kind}`, kind === "csv" ? "text/csv" : "application/json", answer.text);
  };
  const shapes = page.report.shapes || [],
    pick = page.pick || (page.pick = { shape: shapes[0], format: "jsonl" });
  if (!shapes.includes(pick.shape)) pick.shape = shapes[0];
  const menu = (label, options, key) =>
    L.menu({
      "aria-label": label,
      class: "small-select",
      "data-key": `export-${key}`,
      value: pick[key],
      options: options.map((each) => [each, each]),
      onchange: (value) => {
        pick[key] = value;
        page.draw();
      },
    });
  return h(
    "div",
    { class: "cap" },
    h(
      "span",
      { class: "report-links" },
      t("data_export"),
      menu(t("data_export_shape"), shapes, "shape"),
      menu(t("data_export_format"), page.report.formats || [], "format"),
      L.button(t("data_export_do"), () => page.trigger("submit", { dataset_id: page.id, ...pick }), "quiet", {
        "data-key": "export",
      }),
    ),
    page.report.kinds.length
      ? h(
          "span",
          { class: "report-links" },
          t("data_report"),
          L.button("JSON", () => report("json"), "quiet"),
          L.button("CSV", () => report("csv"), "quiet"),
        )
      : null,
  );
};
