/* An evaluation's records as a table: each opens to what was said of it, and a button shows those beyond the first. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { table, wide } from "../lib/table.js";
import { ask, page, state } from "./state.js";

const FEW = 20;

const recordOf = L.newest((question) => ask("record", question));

/** Opens a record, or closes it. */
const unfold = async (record) => {
  if (state.open?.index === record.index) {
    state.open = null;
    return page.draw();
  }
  const id = state.status.evaluation_id;
  const answer = await recordOf({ evaluation_id: id, index: record.index });
  if (id !== state.id) return; // another evaluation was chosen meanwhile
  Object.assign(state, answer.error ? { error: answer.error } : { open: answer });
  page.draw();
};

/** The cell with a record's prompt, which opens it. */
export const opener = (record, most = 80) =>
  h(
    "td",
    { class: "asked" },
    h(
      "button",
      {
        type: "button",
        class: "link",
        "data-key": `record-${record.index}`,
        "aria-expanded": String(state.open?.index === record.index),
        onclick: () => unfold(record),
      },
      L.clip(record.prompt, most) || "–",
    ),
  );

/** The button that shows all of `n`, where not all are `shown`. */
export const showAll = (n, shown, kind = "quiet") =>
  n > shown
    ? L.button(
        t("eval_show_all", { n: L.int(n) }),
        () => {
          state.all = true;
          page.draw();
        },
        kind,
        { "data-key": "all" },
      )
    : null;

/** The switch between all records and those in which models or strategies differ. */
export const onlyDiffering = (text) =>
  h(
    "label",
    { class: "chip" },
    h("input", {
      type: "checkbox",
      checked: state.differ,
      "data-key": "differ",
      onchange: (event) => {
        state.differ = event.target.checked;
        page.draw();
        page.look();
      },
    }),
    h("span", {}, text),
  );

/**
 * The section. `above` stands before the table, `head` are its headings, `line` gives a record's cells, `sides` what is
 * told of it when it is open, beside each other, `below` what follows them.
 * @param {any} options
 */
export const recordTable = ({ above, name = "", head, records, line, sides, below = () => null }) => {
  const shown = state.all ? records : records.slice(0, FEW);
  const width = head.flat().length;
  const whole = (record) =>
    h(
      "tr",
      { class: "unfolded" },
      h(
        "td",
        { colspan: width },
        h("p", { class: "prompt", tabindex: 0, role: "group", "aria-label": t("samples_prompt") }, record.prompt),
        h("div", { class: "sides" }, sides(record)),
        below(record),
      ),
    );
  const rows = shown.map((record) => {
    const open = state.open?.index === record.index;
    return [h("tr", { class: open ? "on" : "" }, line(record)), open ? whole(state.open) : null];
  });
  return h(
    "section",
    { class: "box records" },
    above,
    wide(table({ class: name }, head, rows)),
    showAll(records.length, shown.length),
  );
};

/** The mark of the first or the second model. */
export const which = (i) => h("i", { class: `which ${i ? "second" : "first"}` });

/** Whether it was right, for eyes and ears; "–" where that is not known. @param {boolean | null} correct */
export const mark = (correct) =>
  correct === null
    ? "–"
    : correct
      ? h("span", { class: "yes" }, "✓", h("span", { class: "unseen" }, t("eval_yes")))
      : h("span", { class: "no" }, "✗", h("span", { class: "unseen" }, t("eval_no")));
