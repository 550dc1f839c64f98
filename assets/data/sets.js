/* The list of data sets: open, rename, delete, merge. `page` is the data panel's state. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

export const dataSets = (page) =>
  h(
    "section",
    { class: "box" },
    h("h2", {}, t("data_sets")),
    h(
      "ul",
      { class: "sets" },
      page.sets.map((set) => setLine(page, set)),
    ),
    page.merging?.size > 1
      ? h(
          "div",
          { class: "cap" },
          t("data_merge_n", { n: page.merging.size }),
          L.button(t("data_merge"), () => merge(page), "", { "data-key": "merge" }),
        )
      : null,
  );
const merge = (page) => page.change("merge_datasets", { dataset_ids: [...page.merging] }, () => page.merging.clear());
const renameForm = (page, set) => {
  const submit = async (event) => {
    event.preventDefault();
    const { name } = page.renaming;
    page.renaming = null;
    const answer = await page.ask("rename_dataset", { dataset_id: set.dataset_id, name });
    if (answer.error) return page.fail(answer.error);
    if (set.dataset_id === page.id) page.report.info.name = answer.name;
    await page.list();
    page.draw();
    L.tell("datasets-changed");
  };
  return h(
    "form",
    { class: "renaming", onsubmit: submit },
    L.entry({
      id: "data-rename",
      value: page.renaming.name,
      maxlength: 80,
      "aria-label": t("data_rename_to"),
      onchange: (name) => (page.renaming.name = name),
    }),
    h("button", { type: "submit", class: "btn" }, t("data_save")),
  );
};

const setLine = (page, set) => {
  const { dataset_id: id, name } = set;
  const time = L.setTime(set, page.sets);
  if (page.renaming?.id === id) return h("li", { key: id, class: "on" }, renameForm(page, set));
  const current = id === page.id;
  const merging = (page.merging = page.merging || new Set());
  const rename = () => {
    page.renaming = { id, name };
    page.draw();
    /** @type {HTMLInputElement | null} */
    const field = document.querySelector("#data-rename");
    field?.focus();
    field?.select();
  };
  const remove = async () => {
    const answer = await page.ask("delete_dataset", { dataset_id: id });
    if (answer.error) return page.fail(answer.error);
    merging.delete(id);
    L.tell("datasets-changed");
    if (page.asked === id) return page.leave();
    await page.list(); // another one was opened meanwhile
    page.draw();
  };
  const tick = (event) => {
    if (event.target.checked) merging.add(id);
    else merging.delete(id);
    page.draw();
  };
  const box = {
    type: "checkbox",
    checked: merging.has(id),
    "aria-label": t("data_merge_one", { name: [name, time].filter(Boolean).join(" · ") }),
  };
  return h(
    "li",
    { key: id, class: current ? "on" : "" },
    h(
      "span",
      { class: "set-name" },
      page.sets.length > 1 ? h("input", { ...box, "data-key": `merge-${id}`, onchange: tick }) : null,
      h(
        "button",
        {
          type: "button",
          class: "link",
          "aria-current": current ? "true" : undefined,
          "data-key": `open-${id}`,
          onclick: () => page.open(id),
        },
        set.version > 1 ? `${name} · v${set.version}` : name,
      ),
      time ? h("span", { class: "soft small" }, time) : null,
    ),
    h("span", { class: "soft n" }, L.int(set.kept)),
    current
      ? h(
          "div",
          { class: "acts" },
          L.button(t("data_rename"), rename, "quiet"),
          L.sure(t("data_delete"), t("data_delete_sure"), remove),
        )
      : null,
  );
};
