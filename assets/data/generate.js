/* A model makes a data set: what it is asked for, how far it is, its newest record. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

const GOING = ["queued", "starting", "running", "stopping"];

L.define("generate", ({ el, server }) => {
  const ask = (name, data) => L.ask(server, name, data);
  const state = { choices: null, spec: null, jobs: [], error: null, busy: false };
  const ended = new Set();
  let timer;

  const look = async () => {
    clearTimeout(timer);
    const answer = await ask("jobs");
    if (!answer.error) {
      const first = !state.seen;
      state.seen = true;
      state.jobs = answer.jobs;
      for (const job of state.jobs) {
        const key = `${job.job_id} ${job.dataset_id}`;
        if (GOING.includes(job.state) || ended.has(key)) continue;
        ended.add(key);
        if (!first && job.dataset_id) L.tell("data-made", job.dataset_id);
      }
    }
    draw();
    if (answer.lost) timer = setTimeout(look, 4000);
  };

  const act = async (what, data) => {
    const answer = await ask(what, data);
    state.error = answer.error || null;
    await look();
  };
  const start = async (event) => {
    event.preventDefault();
    state.busy = true;
    draw();
    await act("start", state.spec);
    state.busy = false;
    draw();
  };

  // ---- the form
  const set = (key) => (value) => {
    state.spec = { ...state.spec, [key]: value };
    draw();
  };
  const field = (label, control) => h("label", { class: "pick" }, h("span", {}, label), control);
  const form = () =>
    h(
      "form",
      { class: "generate", onsubmit: start },
      h("p", { class: "soft small" }, t("generate_about")),
      field(
        t("generate_model"),
        L.menu({
          id: "generate-model",
          value: state.spec.model_id,
          options: state.choices.models.map((model) => [model.id, L.clip(model.title, 60)]),
          onchange: set("model_id"),
        }),
      ),
      field(
        t("generate_number"),
        L.entry({
          id: "generate-number",
          type: "number",
          min: 1,
          max: state.choices.most,
          value: state.spec.number,
          onchange: (value) => set("number")(Number(value)),
        }),
      ),
      field(
        t("generate_system"),
        h("textarea", {
          id: "generate-system",
          class: "entry",
          rows: 2,
          maxlength: 4000,
          placeholder: t("generate_system_example"),
          value: state.spec.system,
          onchange: (event) => set("system")(event.target.value),
        }),
      ),
      h(
        "button",
        { type: "submit", class: "btn strong", id: "generate-start", disabled: state.busy },
        t("generate_go"),
      ),
      L.notice(state.error),
    );

  // ---- what is being made, and what was
  const said = ({ progress }) =>
    Object.entries(progress.reasons || {})
      .map(([reason, n]) => t(`generation_${reason}`, { n: L.int(n) }))
      .join(", ");
  const far = (job) => {
    const { kept, total, eta_seconds: left } = job.progress;
    const count = kept === null ? "" : t("generate_kept", { kept: L.int(kept), total: L.int(total) });
    const rest = left && job.state === "running" ? t("generate_left", { time: L.duration(left) }) : "";
    return [t(`state_${job.state}`), count, rest].filter(Boolean).join(" · ");
  };
  const newest = ({ progress }) =>
    h(
      "dl",
      { class: "newest" },
      (progress.last || []).flatMap((turn) => [h("dt", {}, t(`data_role_${turn.role}`)), h("dd", {}, turn.content)]),
    );
  const buttons = (job) => [
    GOING.includes(job.state)
      ? L.button(t("generate_stop"), () => act("stop", { job_id: job.job_id }), "", { id: "generate-stop" })
      : null,
    ["stopped", "failed"].includes(job.state)
      ? L.button(t("generate_resume"), () => act("resume", { job_id: job.job_id }), "quiet")
      : null,
    job.dataset_id && !GOING.includes(job.state)
      ? L.button(t("generate_open"), () => L.tell("data-made", job.dataset_id), "quiet")
      : null,
    GOING.includes(job.state)
      ? null
      : L.button(t("generate_delete"), () => act("remove", { job_id: job.job_id }), "quiet"),
  ];
  const one = (job) => {
    const { kept, total } = job.progress;
    const going = GOING.includes(job.state);
    const share = going && total ? Math.min(1, kept / total) : null;
    return h(
      "li",
      { key: job.job_id },
      h("div", { class: "boxline" }, h("strong", {}, L.clip(job.name, 60)), h("span", { class: "soft n" }, far(job))),
      going ? L.progressBar(share, t("generate_progress", { name: job.name })) : null,
      job.message && job.state === "failed" ? L.notice({ message: job.message, hint: job.hint }) : null,
      going && job.progress.last?.length ? newest(job) : null,
      said(job) ? h("p", { class: "soft small" }, t("generate_left_out", { reasons: said(job) })) : null,
      h("div", { class: "stripline" }, buttons(job)),
    );
  };

  const draw = () => {
    if (!state.choices) return L.show(el, L.notice(state.error));
    L.show(el, form(), state.jobs.length ? h("ul", { class: "made" }, state.jobs.map(one)) : null);
  };

  const begin = async () => {
    const choices = await ask("choices");
    if (choices.error) {
      state.error = choices.error;
      return draw();
    }
    state.choices = choices;
    const { number, system } = choices.defaults;
    state.spec = state.spec || { model_id: choices.models[0]?.id, number, system };
    await look();
  };
  L.hear("starter", (starter) => {
    if (starter.state === "ready") begin();
  });
  L.hear("run-ended", begin); // a finished run is a model that can write
  L.whenShown(el, begin);
});
