/* What a map is asked for, and how far its making is. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

/** @param {any} page @param {any} spec @param {(key: string) => (value: any) => void} set @param {() => void} start */
export const mapForm = (page, spec, set, start) => {
  const { models, runs } = page.choices;
  const submit = (event) => {
    event.preventDefault();
    start();
  };
  return h(
    "form",
    { class: "generate", onsubmit: submit },
    h("p", { class: "soft small" }, t("map_about")),
    L.labelled(
      t("map_model"),
      L.menu({
        id: "map-model",
        value: spec.model_id,
        options: models.map((model) => [model.id, L.clip(model.title, 60)]),
        onchange: set("model_id"),
      }),
    ),
    page.task === "classify" ? null : lossFields(spec, runs, set),
    h("div", {}, h("button", { type: "submit", class: "btn strong", id: "map-start" }, t("map_make"))),
  );
};

const lossFields = (spec, runs, set) => [
  h(
    "label",
    { class: "check" },
    h("input", {
      type: "checkbox",
      id: "map-losses",
      checked: spec.losses,
      onchange: (event) => set("losses")(event.target.checked),
    }),
    " ",
    t("map_losses"),
  ),
  runs.length
    ? L.labelled(
        t("map_after"),
        L.menu({
          id: "map-after",
          value: spec.after_id,
          options: [["", t("map_after_none")], ...runs.map((run) => [run.id, L.clip(run.title, 60)])],
          onchange: set("after_id"),
        }),
      )
    : null,
];

export const mapProgress = (job, stop) => {
  const { phase, done, total, eta_seconds: left } = job.progress;
  const what = phase ? t(`map_phase_${phase}`) : "";
  const rest = left ? t("generate_left", { time: L.duration(left) }) : "";
  return h(
    "div",
    {},
    h("div", { class: "boxline" }, h("span", {}, [t(`state_${job.state}`), what, rest].filter(Boolean).join(" · "))),
    L.progressBar(total ? done / total : null, t("map_progress")),
    L.button(t("map_stop"), stop, "", { id: "map-stop" }),
  );
};
