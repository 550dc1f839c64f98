/* Labels that may be wrong, the most suspicious first: each is mended, dropped or left, in a new version. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { table as tableOf, wide } from "../lib/table.js";

const STEP = 25;

export const labelsTool = (page) => {
  let state = /** @type {any} */ ({ shown: STEP });
  const look = async () => {
    state = { shown: STEP, busy: true };
    page.draw();
    const id = page.id;
    const found = await page.ask("label_errors");
    if (page.id !== id) return;
    state = found.error ? { shown: STEP, error: found.error } : { shown: STEP, found, done: {} };
    page.draw();
  };
  const save = async () => {
    const changes = {};
    const drops = [];
    for (const [place, what] of Object.entries(state.done))
      if (what === "drop") drops.push(Number(place));
      else changes[place] = what.slice(1);
    const answer = await page.make("mend_labels", { changes, drops });
    if (!answer?.error) return;
    state.error = answer.error;
    page.draw();
  };
  const decide = (place, what) => {
    if (what) state.done[place] = what;
    else delete state.done[place];
    page.draw();
  };
  const row = (each) =>
    h(
      "tr",
      { key: each.place },
      h("td", { class: "n soft" }, L.int(each.row)),
      h("td", { class: "excerpt" }, each.text),
      h("td", {}, each.label, h("span", { class: "soft small" }, ` ${L.percent(each.own)}`)),
      h(
        "td",
        {},
        each.suggested === each.label ? "–" : each.suggested,
        h("span", { class: "soft small" }, ` ${L.percent(each.other)}`),
      ),
      h(
        "td",
        {},
        L.menu({
          class: "small-select",
          "aria-label": t("labels_do", { row: each.row }),
          value: state.done[each.place] || "",
          options: [
            ["", t("labels_leave")],
            ...state.found.labels
              .filter((label) => label !== each.label)
              .map((label) => [`=${label}`, `→ ${L.clip(label, 30)}`]),
            ["drop", t("labels_drop")],
          ],
          onchange: (what) => decide(each.place, what),
        }),
      ),
    );
  const table = () => {
    const { found, shown, done } = state;
    const count = Object.keys(done).length;
    return [
      h("p", {}, t("labels_found", { n: found.suspicious, of: found.records })),
      wide(
        tableOf(
          { class: "labels" },
          ["labels_row", "labels_text", "labels_label", "labels_likely", "labels_what"].map((key) =>
            h("th", { scope: "col" }, t(key)),
          ),
          found.ranked.slice(0, shown).map(row),
        ),
      ),
      h(
        "div",
        { class: "boxline" },
        L.button(t("labels_save", { n: count }), save, "strong", {
          id: "labels-save",
          disabled: !count || page.making,
        }),
        shown < found.ranked.length
          ? L.button(
              t("labels_more"),
              () => {
                state.shown += STEP;
                page.draw();
              },
              "quiet",
            )
          : null,
      ),
    ];
  };
  const draw = () => [
    h("p", { class: "soft small" }, t("labels_about")),
    L.notice(state.error),
    state.found
      ? table()
      : L.button(t(state.busy ? "labels_busy" : "labels_look"), look, "strong", {
          id: "labels-look",
          disabled: state.busy,
        }),
  ];
  return { draw, reset: () => (state = { shown: STEP }) };
};
