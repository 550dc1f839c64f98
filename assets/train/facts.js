/* Beside a run: its figures, settings, memory and log. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nameAndNote, nameButton } from "./compared.js";
import { memoryBars } from "./memory.js";
import { ask, page, parts, view } from "./state.js";
import { shownToGuests } from "./watch.js";

export const factsBox = (run) => {
  const { status: s, config = {}, title = {} } = run,
    worker = s.worker || {};
  const row = (name, value) => (value ? h("tr", {}, h("td", {}, name), h("td", {}, value)) : null);
  const batch = (config.batch_size || 1) * (config.gradient_accumulation_steps || 1);
  return h(
    "section",
    { class: "box" },
    h("h2", {}, t("this_run")),
    h(
      "table",
      { class: "facts" },
      h(
        "tbody",
        {},
        row(t("run_name"), s.name),
        row(t("train_data"), title.data),
        row(t("train_model"), title.model),
        row(
          t("train_method"),
          config.method ? t(`run_method_${config.method}`, { rank: config.rank, gap: config.update_proj_gap }) : "",
        ),
        row(
          t("run_learns"),
          config.loss_on && (config.task || "chat") === "chat" ? t(`run_learns_${config.loss_on}`) : "",
        ),
        row(t("run_rate"), config.learning_rate ? String(config.learning_rate) : ""),
        row(
          t("run_steps"),
          s.total_steps ? t("run_steps_value", { steps: L.int(s.total_steps), batch: L.int(batch) }) : "",
        ),
        row(t("run_device"), [worker.device, worker.precision].filter(Boolean).join(", ")),
        row(t("run_started"), L.when(s.created)),
        row(t("run_size"), L.bytes(s.size_bytes)),
        row(t("run_from"), s.imported ? t("run_imported") : ""),
        row(t("run_tracker"), title.tracker ? h("code", {}, title.tracker) : ""),
      ),
    ),
    shownToGuests(s, (on) => page.act("show_run", { run_id: s.run_id, on }), page.draw),
    nameAndNote(s, (data) => page.act("rename_run", { run_id: s.run_id, ...data }), page.draw),
    detailsBox(config, worker, title.hash),
    h(
      "div",
      { class: "acts runacts" },
      nameButton(s, page.draw),
      L.button(t("train_again"), () => L.tell("train-settings", settingsOf(config)), "quiet", { "data-key": "again" }),
      L.button(
        t("train_bundle"),
        () => {
          view.packing = !view.packing;
          page.draw();
        },
        "quiet",
        { "data-key": "bundle", "aria-expanded": String(!!view.packing) },
      ),
      L.button(t("train_log"), showLog, "quiet", { "data-key": "log", "aria-expanded": String(view.log !== null) }),
      s.can_delete
        ? L.sure(t("train_delete"), t("train_delete_sure", { size: L.bytes(s.size_bytes) }), () =>
            page
              .act("delete_run", { run_id: s.run_id })
              .then((done) => done && view.id === s.run_id && page.choose(null)),
          )
        : null,
    ),
    view.packing
      ? h(
          "div",
          { class: "packing" },
          [
            ["figures", true],
            ["model", s.state === "completed"],
            ["checkpoint", s.checkpoint_step !== null && s.checkpoint_step !== undefined && s.state !== "completed"],
          ]
            .filter(([, can]) => can)
            .map(([what]) =>
              L.button(
                t(`bundle_${what}`),
                () => {
                  view.packing = false;
                  page.draw();
                  parts.trigger("submit", { run_id: s.run_id, what });
                },
                "quiet",
                { "data-key": `pack-${what}` },
              ),
            ),
        )
      : null,
    view.log !== null ? h("pre", { class: "log", tabindex: 0 }, view.log || t("train_log_empty")) : null,
  );
};
/* A run's settings as the form takes them. */
const settingsOf = (config) => ({ ...config, dataset_id: config.dataset?.id, model_id: config.model?.id, name: null });

// All settings as they were given, and the versions that computed: what another person needs to do it again.
const detailsBox = (config, worker, hash) => {
  const settings = Object.entries(config).filter(
    ([key, value]) =>
      !["dataset", "model", "group"].includes(key) && value !== null && value !== "" && typeof value !== "object",
  );
  const fold = (word, entries) =>
    entries.length
      ? h(
          "details",
          {
            class: "fold-facts",
            open: !!view.open[word],
            ontoggle: (event) => {
              view.open[word] = event.target.open;
            },
          },
          h("summary", {}, t(word)),
          h(
            "table",
            { class: "facts small-facts" },
            h(
              "tbody",
              {},
              entries.map(([key, value]) => h("tr", {}, h("td", {}, key), h("td", {}, String(value)))),
            ),
          ),
        )
      : null;
  const versions = [...(hash ? [[t("run_hash"), hash]] : []), ...Object.entries(worker.versions || {})];
  return [fold("run_settings", settings), fold("run_versions", versions)];
};
const showLog = async () => {
  if (view.log !== null) {
    view.log = null;
    return page.draw();
  }
  const { id } = view;
  const answer = await ask("run_log", { run_id: id });
  if (view.id !== id) return; // another run was chosen meanwhile
  view.log = answer.error ? answer.error.message : answer.text;
  page.draw();
};
export const memoryBox = (run) =>
  run.status.ledger
    ? h(
        "section",
        { class: "box" },
        h("h2", {}, t("memory"), L.help(t("mem_help"), t("memory"))),
        memoryBars(run.status.ledger),
      )
    : null;
