/* The table of all runs. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, table, td, th, wide } from "../lib/table.js";
import { differences } from "./compared.js";
import { standing } from "./figures.js";
import { page, view } from "./state.js";

/* The cells of a run's losses; where answers earn rewards, the loss says nothing and the reward stands there. */
const losses = (run) => {
  const earns = run.scores?.reward !== undefined;
  const held = earns ? standing(run).at(-1)?.join(" ") : L.num(run.eval_loss);
  return [
    h("td", { class: "n", "data-name": t("train_loss") }, earns ? "–" : L.num(run.loss)),
    h("td", { class: "n", "data-name": t("train_held_out") }, held),
  ];
};

export const runsBox = () => {
  if (!view.runs.length) return null;
  const names = L.distinctNames(view.runs);
  const toggle = async (id, on) => {
    on ? view.compared.add(id) : view.compared.delete(id);
    await page.compare();
    page.draw();
  };
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("runs_all")),
      h("span", { class: "soft small" }, t("runs_compare_hint")),
    ),
    differences(view.differ, view.curves),
    wide(
      table(
        { class: "runs" },
        [
          th(h("span", { class: "unseen" }, t("runs_compare"))),
          th(t("runs_run")),
          th(t("runs_state")),
          ["train_steps", "train_loss", "train_held_out", "runs_size"].map((key) => nth(t(key))),
        ],
        view.runs.map((run, n) =>
          h(
            "tr",
            { class: run.run_id === view.id ? "on" : "" },
            td(
              h("input", {
                type: "checkbox",
                checked: view.compared.has(run.run_id),
                "aria-label": t("runs_compare_one", { name: names[n] }),
                "data-key": `cmp-${run.run_id}`,
                onchange: (event) => toggle(run.run_id, event.target.checked),
              }),
            ),
            td(
              h(
                "button",
                {
                  type: "button",
                  class: "link",
                  "data-key": `run-${run.run_id}`,
                  "aria-current": run.run_id === view.id ? "true" : null,
                  onclick: () => page.choose(run.run_id),
                },
                run.name,
              ),
              h("div", { class: "soft" }, L.when(run.created)),
            ),
            td(t(`state_${run.state}`), run.reason ? h("div", { class: "soft" }, t(`reason_${run.reason}`)) : null),
            h(
              "td",
              { class: "n", "data-name": t("train_steps") },
              run.total_steps ? `${L.int(run.step)} / ${L.int(run.total_steps)}` : "–",
            ),
            losses(run),
            h("td", { class: "n", "data-name": t("runs_size") }, L.bytes(run.size_bytes)),
          ),
        ),
      ),
    ),
  );
};
