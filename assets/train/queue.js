/* The queue of runs, and how a run that was downloaded is opened. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { page, view } from "./state.js";

export const queueBox = () => {
  const waiting = view.runs.filter((run) => run.state === "queued").sort((a, b) => a.queue_position - b.queue_position);
  if (!waiting.length) return null;
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("queue")),
    h(
      "ul",
      { class: "sets" },
      waiting.map((run, i) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "link", onclick: () => page.choose(run.run_id), "data-key": `q-${run.run_id}` },
            run.name,
          ),
          h("span", { class: "soft" }, t(i ? "queue_waiting" : "queue_next")),
          h(
            "div",
            { class: "acts" },
            i
              ? L.button("↑", () => page.act("reorder_run", { run_id: run.run_id, place: i }), "quiet", {
                  "aria-label": t("queue_first", { name: run.name }),
                  "data-key": `up-${run.run_id}`,
                })
              : null,
            L.button(t("queue_cancel"), () => page.act("cancel_run", { run_id: run.run_id }), "quiet", {
              "data-key": `cancel-${run.run_id}`,
            }),
          ),
        ),
      ),
    ),
  );
};

/* A bundle with a model is often larger than what may be uploaded: one that is on this computer already is opened where
   it is. */
export const openerBox = () => {
  const start = () => {
    view.opening = true;
    page.draw();
    L.find("#train-side .opener input")?.focus();
  };
  if (!view.opening)
    return h("div", { class: "opener" }, L.button(t("runs_import_path"), start, "quiet", { "data-key": "opener" }));
  const submit = async (event) => {
    event.preventDefault();
    const made = await page.act("open_bundle", { path: view.path });
    if (!made) return;
    view.opening = false;
    page.choose(made.run_id);
  };
  const attributes = {
    maxlength: 1000,
    "aria-label": t("runs_import_where"),
    placeholder: t("runs_import_where"),
  };
  return h(
    "form",
    { class: "opener renaming", onsubmit: submit },
    L.entry({ value: view.path, onchange: (path) => (view.path = path), ...attributes }),
    h("button", { type: "submit", class: "btn" }, t("runs_import_open")),
    L.button(
      t("cancel"),
      () => {
        view.opening = false;
        page.draw();
      },
      "quiet",
    ),
  );
};
