/* Training on other machines: commands for several of one's own, or a job rented from the Hugging Face hub. A token is
   sent with each thing that needs it and kept nowhere. */
import { copy } from "../lib/clipboard.js";
import {
  ACTIVE,
  ask as call,
  button,
  bytes,
  choice,
  define,
  duration,
  entry,
  h,
  hear,
  hearJobs,
  int,
  labelled,
  menu,
  notice,
  num,
  progressBar,
  show,
  sure,
  t,
  tell,
  whenShown,
} from "../lib/panel.js";
import { NONE } from "../lib/words.js";

/** $0.4 an hour for 2 hours: what it can cost at most. @param {number} price @param {number} hours */
export const most = (price, hours) => dollars(price * hours);
/** @param {number} n */
export const dollars = (n) => (Number.isFinite(n) ? `$${n > 0 && n < 0.01 ? "0.01" : n.toFixed(2)}` : NONE);
/** One line of the menu of hardware. */
export const offer = (each) =>
  t("else_offer", { title: each.title, what: each.gpu || each.cpu, price: dollars(each.dollars_per_hour) });

define("elsewhere", ({ el, server }) => {
  const view = {
    open: false,
    way: "machines",
    of: "form",
    config: null,
    run: null,
    jobs: [],
    given: false,
    error: null,
    busy: false,
    text: "",
    copied: false,
    hardware: null,
    models: [],
    log: {},
  };
  const form = { machines: 2, processes: 1, token: "", flavor: "", hours: 2, model_id: "", gpus: 0 };

  const ask = async (name, data) => {
    Object.assign(view, { busy: true, error: null });
    draw();
    const answer = await call(server, name, data);
    Object.assign(view, { busy: false, error: answer.error || null });
    draw();
    return answer.error ? null : answer;
  };
  const redraw = (change) => {
    change();
    draw();
  };
  const isKnown = () => view.of === "run" || Boolean(view.config); // the form's settings come once its menus are read
  const asked = () => (view.of === "run" && view.run ? { run_id: view.run.run_id } : { config: view.config });

  const look = async () => {
    const answer = await call(server, "elsewhere_list");
    if (!answer.error) {
      const back = answer.jobs.filter(
        (job) => job.run_id && view.jobs.some((old) => old.job_id === job.job_id && !old.run_id),
      );
      Object.assign(view, { jobs: answer.jobs, given: answer.given });
      back.slice(0, 1).forEach((job) => tell("run-started", job.run_id));
      draw();
    }
  };

  const field = (key, word, more = {}) => {
    const number = more.type === "number";
    const set = (value) => {
      form[key] = number ? Number(value) : value;
      view.text = "";
      draw();
    };
    const attributes = { maxlength: 512, autocomplete: "off", spellcheck: false, "data-key": `else-${key}`, ...more };
    return labelled(t(word), entry({ value: String(form[key]), onchange: set, ...attributes }));
  };
  const which = () =>
    view.run
      ? choice(
          t("else_of"),
          [
            ["form", t("else_of_form")],
            ["run", t("else_of_run")],
          ],
          view.of,
          (of) => {
            Object.assign(view, { of, text: "" });
            draw();
          },
        )
      : null;

  const machines = () => {
    const write = async (event) => {
      event.preventDefault();
      const wanted = () => ({ ...asked(), machines: form.machines, processes: form.processes });
      const before = JSON.stringify(wanted());
      const answer = await ask("elsewhere_machines", wanted());
      if (answer && before === JSON.stringify(wanted())) view.text = answer.text; // else it is of something else
      draw();
    };
    const take = async () => {
      await copy(view.text).then(
        () => (view.copied = true),
        () => {},
      );
      draw();
      setTimeout(() => {
        view.copied = false;
        draw();
      }, 2000);
    };
    return h(
      "form",
      { class: "pushform", onsubmit: write },
      h("p", { class: "soft print" }, t("else_machines_about")),
      field("machines", "else_machines_n", { type: "number", min: 1, max: 64, step: 1 }),
      field("processes", "else_processes_n", { type: "number", min: 1, max: 64, step: 1 }),
      h("button", { class: "btn", type: "submit", disabled: view.busy || !isKnown() }, t("else_machines_show")),
      view.text ? h("pre", { class: "log", tabindex: 0 }, view.text) : null,
      view.text
        ? button(t(view.copied ? "else_copied" : "else_copy"), take, "quiet", { "data-key": "else-copy" })
        : null,
    );
  };

  const prices = async () => {
    const answer = await ask("elsewhere_hardware", { token: form.token });
    if (!answer) return;
    Object.assign(view, { hardware: answer.hardware, models: answer.models || [] });
    const known = answer.hardware.some((each) => each.name === form.flavor);
    if (!known) form.flavor = (answer.hardware.find((each) => each.gpus) || answer.hardware[0])?.name || "";
    draw();
  };
  const picked = (word, key, options) =>
    labelled(
      t(word),
      menu({
        options,
        value: String(form[key] || options[0][0]),
        "data-key": `else-${key}`,
        onchange: (value) => redraw(() => (form[key] = key === "gpus" ? Number(value) : value)),
      }),
    );
  const gpus = (chosen) =>
    picked(
      "else_gpus",
      "gpus",
      Array.from({ length: chosen.gpus }, (_, index) => [String(index + 1), int(index + 1)]),
    );
  const models = () =>
    picked("else_model", "model_id", [
      ["", t("else_model_form")],
      ...view.models.map((each) => [each.id, each.gated ? t("else_model_gated", { title: each.title }) : each.title]),
    ]);
  const rent = () => {
    const chosen = (view.hardware || []).find((each) => each.name === form.flavor);
    const start = async (event) => {
      event.preventDefault();
      if (!chosen) return prices();
      const answer = await ask("elsewhere_start", {
        ...asked(),
        flavor: form.flavor,
        hours: form.hours,
        token: form.token,
        model_id: form.model_id,
        gpus: Math.min(form.gpus || 1, chosen.gpus || 1),
      });
      if (!answer) return;
      form.token = "";
      tell("datasets-changed");
      look();
    };
    const options = (view.hardware || []).map((each) => [each.name, offer(each)]);
    const cost = chosen ? most(chosen.dollars_per_hour, form.hours) : "";
    return h(
      "form",
      { class: "pushform", onsubmit: start },
      h("p", { class: "soft print" }, t("else_hub_about")),
      field("token", "else_token", { type: "password" }),
      h("p", { class: "soft print" }, t(view.given ? "push_given" : "else_token_about")),
      chosen
        ? [
            labelled(
              t("else_hardware"),
              menu({
                options,
                value: form.flavor,
                "data-key": "else-flavor",
                onchange: (name) => redraw(() => (form.flavor = name)),
              }),
            ),
            chosen.gpus > 1 ? gpus(chosen) : null,
            view.models.length ? models() : null,
            field("hours", "else_hours", { type: "number", min: 0.25, max: 72, step: 0.25 }),
            h(
              "p",
              { class: "soft print", role: "status" },
              t("else_cost", { most: cost, price: dollars(chosen.dollars_per_hour), memory: chosen.memory }),
            ),
          ]
        : null,
      h(
        "button",
        { class: `btn ${chosen ? "strong" : ""}`, type: "submit", disabled: view.busy || !isKnown() },
        chosen ? t("else_start", { most: cost }) : t("else_prices"),
      ),
    );
  };

  const told = (job) => {
    const { stage, sent, total, step, total_steps: steps, loss, running_seconds: ran } = job.progress;
    if (!ACTIVE.includes(job.state)) return t(`state_${job.state}`);
    const parts = [t(stage ? `else_stage_${stage}` : `state_${job.state}`)];
    if (stage === "sending" && total) parts.push(`${bytes(sent)} / ${bytes(total)}`);
    if (step) parts.push(t("train_step", { step: int(step), total: int(steps) }));
    if (loss) parts.push(`${t("train_loss")} ${num(loss)}`);
    if (ran) parts.push(`${duration(ran)}, ${most(job.hardware.dollars_per_hour, ran / 3600)}`);
    return parts.join(" · ");
  };
  const showLog = async (id) => {
    if (view.log[id] !== undefined) delete view.log[id];
    else {
      const answer = await ask("elsewhere_log", { job_id: id });
      if (answer) view.log[id] = answer.text;
    }
    draw();
  };
  const one = (job) => {
    const id = job.job_id;
    const { step, total_steps: steps, sent, total, stage } = job.progress;
    const share = stage === "sending" ? total && sent / total : steps && step / steps;
    const act =
      (name, data = {}) =>
      () =>
        ask(name, { job_id: id, ...data }).then(look);
    return h(
      "li",
      { key: id, class: "elsewhere" },
      h("b", {}, job.name),
      h("p", { class: "soft small", role: "status" }, `${job.hardware.title || ""} · ${told(job)}`),
      ACTIVE.includes(job.state) ? progressBar(share || null, job.name) : null,
      job.state === "failed" ? notice(job) : null,
      h(
        "div",
        { class: "acts" },
        job.run_id
          ? button(t("else_open"), () => tell("run-started", job.run_id), "", { "data-key": `open-${id}` })
          : null,
        job.can_stop
          ? sure(t("else_cancel"), t("else_cancel_sure"), act("stop_elsewhere"), { "data-key": `stop-${id}` })
          : null,
        job.can_resume
          ? button(t("else_resume"), act("resume_elsewhere", { token: form.token }), "", { "data-key": `again-${id}` })
          : null,
        button(t("train_log"), () => showLog(id), "quiet", { "data-key": `log-${id}` }),
        job.url
          ? h("a", { href: job.url, target: "_blank", rel: "noreferrer", class: "small link" }, t("else_on_hub"))
          : null,
        job.can_delete
          ? sure(t("train_delete"), t("else_delete_sure", { repo: job.repo || "–" }), act("delete_elsewhere"), {})
          : null,
      ),
      view.log[id] !== undefined ? h("pre", { class: "log", tabindex: 0 }, view.log[id] || t("train_log_empty")) : null,
    );
  };

  const draw = () => {
    /** @type {[string, string][]} */
    const ways = [
      ["machines", t("else_way_machines")],
      ["hub", t("else_way_hub")],
    ];
    const fold = h(
      "details",
      { open: view.open, ontoggle: (event) => (view.open = event.target.open) },
      h("summary", {}, t("else_title")),
      choice(t("else_title"), ways, view.way, (way) => redraw(() => Object.assign(view, { way, error: null }))),
      which(),
      notice(view.error),
      view.way === "machines" ? machines() : rent(),
    );
    const jobs = view.jobs.length ? h("ul", { class: "elsewhere-list" }, view.jobs.map(one)) : null;
    show(el, h("section", { class: "box" }, fold, view.open ? null : notice(view.error), jobs));
  };

  hear("train-form", (config) => {
    view.config = config;
    if (view.of === "form") view.text = "";
    draw();
  });
  hear("run-shown", (run) => {
    if (run?.run_id === view.run?.run_id) return;
    Object.assign(view, { run, of: run ? view.of : "form" });
    draw();
  });
  hearJobs(["elsewhere"], look, el);
  whenShown(el, look);
  draw();
});
