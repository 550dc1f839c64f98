/* A model makes a data set: how far it is, its newest record, what was left out. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { generateForm, generateRequest, generateState, settle } from "./generate-form.js";

L.define("generate", ({ el, server }) => {
  const ask = (name, data) => L.ask(server, name, data);
  const state = { choices: null, form: null, jobs: [], error: null, busy: false, left: null };
  const ended = new Set();
  let timer;

  const jobs = L.newest(() => ask("jobs"));
  const look = async () => {
    clearTimeout(timer);
    const answer = await jobs();
    if (!answer.error) {
      const first = !state.seen;
      state.seen = true;
      state.jobs = answer.jobs;
      for (const job of state.jobs) {
        const key = `${job.job_id} ${job.dataset_id}`;
        if (L.ACTIVE.includes(job.state) || ended.has(key)) continue;
        ended.add(key);
        if (!first && job.dataset_id) L.tell("data-made", job.dataset_id);
      }
    }
    draw();
    if (answer.lost) timer = setTimeout(look, 4000);
  };

  const keys = () => ({ key: state.form.key, judge_key: state.form.judgeKey });
  const act = async (what, data) => {
    const answer = await ask(what, data);
    state.error = answer.error || null;
    await look();
  };
  const start = async (event) => {
    event.preventDefault();
    state.busy = true;
    draw();
    await act("start", generateRequest(state.form, state.choices));
    state.busy = false;
    draw();
  };

  // ---- what is being made, and what was
  const recordsOf = L.newest((job_id, reason) => ask("records", { job_id, reason }));
  const showLeft = async (job_id, reason) => {
    if (state.left?.job_id === job_id && state.left.reason === reason) state.left = null;
    else {
      const answer = await recordsOf(job_id, reason);
      state.error = answer.error || null;
      state.left = answer.error ? null : { job_id, reason, records: answer.records };
    }
    draw();
  };
  const leftOut = ({ job_id, progress }) => {
    const reasons = Object.entries(progress.reasons || {}).sort((a, b) => b[1] - a[1]);
    if (!reasons.length) return null;
    const shown = state.left?.job_id === job_id ? state.left : null;
    return h(
      "div",
      { class: "left-out" },
      h("span", { class: "soft small" }, t("generate_left_out")),
      reasons.map(([reason, n]) =>
        h(
          "button",
          {
            type: "button",
            class: "link small",
            "aria-expanded": String(shown?.reason === reason),
            onclick: () => showLeft(job_id, reason),
          },
          t(`generation_${reason}`, { n: L.int(n) }),
        ),
      ),
      shown
        ? h(
            "ul",
            { class: "plain" },
            shown.records.map((record) => h("li", {}, turnsOf(record))),
          )
        : null,
    );
  };
  const turnsOf = ({ messages, answers = [], judged }) => {
    const turns = [
      ...messages.map((turn) => [t(`data_role_${turn.role}`), turn.content]),
      ...answers.map((answer, n) => [t("generate_answer_n", { n: n + 1 }), answer]),
      ...(judged?.feedback || []).map((feedback) => [t("generate_judged"), feedback]),
    ];
    return h(
      "dl",
      { class: "newest" },
      turns.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, L.clip(text || "–", 400))]),
    );
  };
  const far = (job) => {
    const { kept, eta_seconds: left } = job.progress;
    const total = job.progress.total ?? job.spec.number; // of one that has ended the first is not told
    const count = kept === null ? "" : t("generate_kept", { kept: L.int(kept), total: L.int(total) });
    const rest = left && job.state === "running" ? t("generate_left", { time: L.duration(left) }) : "";
    const kind = job.spec.kind ? t(`generate_kind_${job.spec.kind}`) : ""; // a damaged job has no settings
    return [kind, t(`state_${job.state}`), count, rest].filter(Boolean).join(" · ");
  };
  const newest = ({ progress }) =>
    h(
      "dl",
      { class: "newest" },
      (progress.last || []).flatMap((turn) => [h("dt", {}, t(`data_role_${turn.role}`)), h("dd", {}, turn.content)]),
    );
  const buttons = (job) => [
    L.ACTIVE.includes(job.state)
      ? L.button(t("generate_stop"), () => act("stop", { job_id: job.job_id }), "", {
          id: "generate-stop",
          "data-key": "stop",
        })
      : null,
    ["stopped", "failed"].includes(job.state)
      ? L.button(t("generate_resume"), () => act("resume", { job_id: job.job_id, ...keys() }), "quiet", {
          "data-key": "resume",
        })
      : null,
    job.dataset_id && !L.ACTIVE.includes(job.state)
      ? L.button(t("generate_open"), () => L.tell("data-made", job.dataset_id), "quiet", { "data-key": "open" })
      : null,
    L.ACTIVE.includes(job.state)
      ? null
      : L.button(t("generate_delete"), () => act("remove", { job_id: job.job_id }), "quiet", { "data-key": "delete" }),
  ];
  const one = (job) => {
    const { kept, total } = job.progress;
    const going = L.ACTIVE.includes(job.state);
    const share = going && total ? Math.min(1, kept / total) : null;
    return h(
      "li",
      { key: job.job_id },
      h("div", { class: "boxline" }, h("strong", {}, L.clip(job.name, 60)), h("span", { class: "soft n" }, far(job))),
      going ? L.progressBar(share, t("generate_progress", { name: job.name })) : null,
      job.message && job.state === "failed" ? L.notice({ message: job.message, hint: job.hint }) : null,
      going && job.progress.last?.length ? newest(job) : null,
      leftOut(job),
      h("div", { class: "stripline" }, buttons(job)),
    );
  };

  // ---- how long it will take, asked anew once the settings, or what was made here, are others
  let asked = "",
    waiting;
  const foretell = () => {
    const request = generateRequest(state.form, state.choices);
    const key = JSON.stringify([request.spec, ended.size]);
    if (asked === key) return;
    asked = key;
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const answer = await ask("forecast", { spec: request.spec });
      if (asked !== key) return;
      state.form.takes = answer.error ? null : answer; // what is wrong with the settings is said when they are sent
      draw();
    }, 300);
  };

  const draw = () => {
    if (!state.choices) return L.show(el, L.notice(state.error));
    foretell();
    const form = generateForm({
      state: state.form,
      choices: state.choices,
      busy: state.busy,
      error: state.error,
      draw,
      start,
      act: (name, data) => ask(name, data),
    });
    L.show(el, form, state.jobs.length ? h("ul", { class: "made" }, state.jobs.map(one)) : null);
  };

  const choices = L.newest(() => ask("choices"));
  const begin = async () => {
    const found = await choices();
    if (found.error) {
      state.error = found.error;
      return draw();
    }
    state.choices = found;
    state.form = state.form || generateState(found);
    settle(state.form, found);
    await look();
  };
  L.hear("starter", (starter) => {
    if (starter.state === "ready") begin();
  });
  L.hear("run-ended", begin); // a finished run is a model that can write
  L.hear("datasets-changed", begin);
  L.hearJobs(["generation"], () => state.choices && look(), el, 500);
  L.whenShown(el, begin);
});
