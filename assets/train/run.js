/* One run as it goes: state line, loss plot, subspace, samples, memory, queue, all runs. What it shows comes from the
 runs' folders, so any number of pages show the same; it asks only while a run is going and the panel is seen. */
import { heat } from "../lib/chart/heat.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { changesBox } from "./changes.js";
import { differences, nameAndNote, nameButton } from "./compared.js";
import { figures } from "./figures.js";
import { memoryBars } from "./memory.js";

const ACTIVE = ["queued", "starting", "running", "stopping"];
const parts = {};
const view = {
  id: null,
  run: null,
  runs: [],
  compared: new Set(),
  curves: [],
  differ: {},
  all: true,
  over: "step",
  prompt: 0,
  heat: null,
  seen: null,
  log: null,
  error: null,
  packing: false,
  opening: false,
  path: "",
  open: {},
};
const ask = (name, data) => L.ask(parts.server, name, data);

L.define("train-run", ({ el, props, watch, server, trigger }) => {
  watch("value", () => {
    if (props.value?.run_id) choose(props.value.run_id);
  }); // a bundle was opened
  parts.main = el;
  parts.server = server;
  parts.trigger = trigger;
  if (parts.side) begin();
});
L.define("train-side", ({ el }) => {
  parts.side = el;
  if (parts.main) begin();
});

let timer,
  looking = false;
const begin = () => {
  L.hear("run-started", (id) => {
    choose(id);
  });
  L.hear("bundle-wanted", (id) => parts.trigger("submit", { run_id: id, what: "model" }));
  document.addEventListener("visibilitychange", () => L.visible(parts.main) && look());
  L.whenShown(parts.main, look);
  L.hear("runs-pulse", () => L.visible(parts.main) && look());
  look();
};
const choose = (id) => {
  Object.assign(view, { id, run: null, seen: null, log: null, heat: null, prompt: 0, error: null, packing: false });
  look(true);
};

// One look: the list, and the chosen run with its figures if there are new ones.
const look = async (force) => {
  if (looking && !force) return;
  looking = true;
  clearTimeout(timer);
  const answer = await ask("overview", { run_id: view.id, seen: view.seen });
  looking = false;
  if (answer.error) {
    view.error = answer.error;
  } else {
    view.error = null;
    const before = view.run?.status?.state,
      id = answer.run_id;
    view.runs = answer.runs;
    if (id !== view.id) Object.assign(view, { id, run: null });
    if (answer.run) {
      view.run = answer.run.figures ? answer.run : { ...view.run, status: answer.run.status };
      view.seen = answer.run.seen;
    } else view.run = null;
    const after = view.run?.status?.state;
    if (before && before !== after && !ACTIVE.includes(after)) {
      L.tell("run-ended", view.id);
      L.tell("runs-changed");
    }
  }
  if (comparedGoes()) await compare();
  draw();
  const going = view.runs.some((run) => ACTIVE.includes(run.state));
  if ((going || answer.lost) && L.visible(parts.main)) timer = setTimeout(look, answer.lost ? 4000 : 1000);
};

// The figures of the ticked runs, again as long as one of them goes.
const compare = async () => {
  const ids = [...view.compared].filter((id) => !view.runs.length || view.runs.some((run) => run.run_id === id));
  view.compared = new Set(ids);
  const answer = ids.length ? await ask("compare", { run_ids: ids }) : { runs: [] };
  if (answer.error) view.error = answer.error;
  else Object.assign(view, { curves: answer.runs, differ: answer.settings || {} });
};
const comparedGoes = () => view.runs.some((run) => view.compared.has(run.run_id) && ACTIVE.includes(run.state));

const act = async (name, data) => {
  const answer = await ask(name, data);
  if (answer.error) {
    view.error = answer.error;
    draw();
    return null;
  }
  L.tell("runs-changed");
  look(true);
  return answer;
};

const draw = () => {
  const { run, error } = view;
  L.show(
    parts.main,
    L.notice(error),
    run ? [stateBox(run), plotBox(run), heatBox(run), changesBox(run.status, ask, draw), samplesBox(run)] : emptyBox(),
    runsBox(),
  );
  L.show(parts.side, run ? [factsBox(run), memoryBox(run)] : null, queueBox(), openerBox());
  L.tell("run-shown", run ? run.status : null);
};
const emptyBox = () =>
  h("section", { class: "box empty" }, h("h2", {}, t("train_none_title")), h("p", {}, t("train_none")));

// The evaluate panel is made when it is first opened: until then its form finds here what it is asked for.
const evaluate = (model_id, dataset_id) => {
  L.wanted.evaluation = { model_id, dataset_id };
  L.openPanel("evaluate");
  L.tell("evaluate-model", L.wanted.evaluation);
};

/* The arena with the base and the tuned model side by side, on a record that the run held out. */
const tryIt = (run) => {
  const { config = {}, samples = [], status } = run;
  const prompt = samples[Math.min(view.prompt, samples.length - 1)]?.prompt;
  const isNew = config.task === "pretrain"; // a new model has no base to stand beside
  const base = isNew ? undefined : config.model?.id;
  L.wanted.model = { tuned: status.model_id, base, prompt, raw: isNew || config.task === "text" };
  L.tell("try-model", L.wanted.model);
  parts.trigger("select", { model_id: status.model_id });
};

// ---- state line, progress, plot
const stateBox = (run) => {
  const s = run.status,
    active = ACTIVE.includes(s.state),
    share = s.total_steps ? Math.min(1, s.step / s.total_steps) : 0,
    waits = active && s.state !== "queued" && !s.step;
  const facts = [];
  if (s.total_steps) facts.push(h("span", {}, t("train_step", { step: L.int(s.step), total: L.int(s.total_steps) })));
  if (s.loss !== null && s.loss !== undefined)
    facts.push(h("span", {}, t("train_loss") + " ", h("b", {}, L.num(s.loss))));
  if (s.eval_loss !== null && s.eval_loss !== undefined)
    facts.push(h("span", {}, t("train_held_out") + " ", h("b", {}, L.num(s.eval_loss))));
  if (active && s.tokens_per_second) facts.push(h("span", {}, t("train_speed", { n: L.int(s.tokens_per_second) })));
  if (active && s.eta_seconds) facts.push(h("span", {}, t("train_left", { time: L.duration(s.eta_seconds) })));
  if (s.state === "stopping" && (s.stop_seconds_left || s.stop_phase === "killing"))
    facts.push(
      h(
        "span",
        {},
        t(s.stop_phase === "asking" || !s.stop_phase ? "train_stop_wait" : `train_stop_${s.stop_phase}`, {
          time: L.duration(s.stop_seconds_left),
        }),
      ),
    );
  else if (active && s.phase && s.phase !== "training") facts.push(h("span", {}, t(`phase_${s.phase}`)));
  const buttons = h(
    "span",
    { class: "acts" },
    s.can_stop
      ? L.button(t("train_stop"), () => act("stop", { run_id: s.run_id }), "", { id: "train-stop", "data-key": "stop" })
      : null,
    s.can_resume
      ? L.button(t("train_resume"), () => act("resume", { run_id: s.run_id }), "", { "data-key": "resume" })
      : null,
    s.state === "completed" && s.model_id && view.run.config?.task !== "classify"
      ? L.button(t("train_try"), () => tryIt(run), "strong", { id: "train-try", "data-key": "try" })
      : null,
    s.state === "completed" && s.model_id
      ? L.button(t("eval_start"), () => evaluate(s.model_id, view.run.config?.dataset?.id), "", {
          id: "train-evaluate",
          "data-key": "evaluate",
        })
      : null,
  );
  const message =
    s.state === "failed"
      ? L.notice({ message: s.message || t(`reason_${s.reason}`), hint: s.hint })
      : s.message && s.state !== "completed" && s.state !== "running"
        ? h("p", { class: "soft small" }, s.message)
        : null;
  return h(
    "section",
    { class: "box", id: "run-state" },
    h(
      "div",
      { class: "state" },
      h("b", { class: `is-${s.state}`, role: "status" }, t(`state_${s.state}`)),
      facts,
      buttons,
    ),
    L.progressBar(waits ? null : share, t(`state_${s.state}`)),
    message,
    (s.notes || []).map((note) => h("p", { class: "soft small" }, note)),
  );
};

const plotBox = (run) => {
  const own = { run_id: view.id, name: run.status.name, series: run.series || {} };
  const others = view.compared.size ? view.curves.filter((each) => each.run_id !== view.id) : [];
  const runs = [own, ...others]; // the run that is looked at is always among those compared
  const { plots, keys, more, overfits } = figures(runs, {
    over: view.over,
    total: run.status.total_steps,
    all: view.all,
  });
  const fold = more.length
    ? L.button(
        t(view.all ? "figures_less" : "figures_more", { n: more.length }),
        () => {
          view.all = !view.all;
          draw();
        },
        "quiet",
        { "data-key": "figures", "aria-expanded": String(view.all), title: more.join(", ") },
      )
    : null;
  return h(
    "section",
    { class: "box" },
    plots,
    overfits ? h("p", { class: "soft small", id: "run-overfits" }, overfits) : null,
    h(
      "div",
      { class: "cap" },
      h("span", { class: "keys" }, keys),
      h(
        "span",
        { class: "plot-picks" },
        fold,
        L.choice(
          t("train_over"),
          [
            ["step", t("train_steps")],
            ["seconds", t("train_time")],
          ],
          view.over,
          (over) => {
            view.over = over;
            draw();
          },
        ),
      ),
    ),
  );
};

// ---- the subspace
const split = (name) => {
  const m = name.match(/\.(\d+)\.(?:.*\.)?([^.]+?)(?:\.weight)?$/);
  return m ? [+m[1], m[2].replace(/_proj$/, "")] : [0, name];
};
const KINDS = ["q", "k", "v", "o", "gate", "up", "down"];
const place = (kind) => (KINDS.includes(kind) ? KINDS.indexOf(kind) : KINDS.length);
const heatBox = (run) => {
  const data = run.refreshes;
  if (!data?.layers?.length) return null;
  const all = data.energy.flat().filter((v) => v !== null),
    low = Math.min(...all),
    high = Math.max(...all);
  const many = data.steps.length > 1,
    mode = many && view.heat === "time" ? "time" : "layer",
    span = Math.max(high - low, 0.02);
  // Refreshes are spread over the steps: what counts for a matrix at a time is its newest refresh until then.
  const filled = data.energy.map((row) => {
    let known = null;
    return row.map((value) => (known = value ?? known));
  });
  const names = data.layers.map(split),
    last = data.steps.length - 1,
    cell = (layer, step) => filled[layer]?.[step] ?? null;
  let values, say, rows;
  if (mode === "layer") {
    rows = [...new Set(names.map(([, kind]) => kind))].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
    const depth = Math.max(...names.map(([n]) => n)) + 1;
    const at = (kind, n) => names.findIndex(([m, k]) => m === n && k === kind);
    values = rows.map((kind) =>
      Array.from({ length: depth }, (_, n) => {
        const i = at(kind, n);
        return i < 0 ? null : cell(i, last);
      }),
    );
    say = (y, x) => `${rows[y]} ${x}: ${values[y][x] === null ? "–" : L.num(values[y][x] * 100, 1) + " %"}`;
  } else {
    const order = names
      .map((_, i) => i)
      .sort((a, b) => names[a][0] - names[b][0] || place(names[a][1]) - place(names[b][1]));
    values = order.map((i) => data.steps.map((_, step) => cell(i, step)));
    const value = (y, x) => (values[y][x] === null ? "–" : `${L.num(values[y][x] * 100, 1)} %`);
    say = (y, x) => `${data.layers[order[y]]} · ${t("plot_step")} ${L.int(data.steps[x])}: ${value(y, x)}`;
  }
  const rank = run.config?.rank;
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("heat_title")),
      many
        ? L.choice(
            t("heat_view"),
            [
              ["layer", t("heat_by_layer")],
              ["time", t("heat_by_time")],
            ],
            mode,
            (value) => {
              view.heat = value;
              draw();
            },
          )
        : null,
    ),
    heat({
      values,
      color: "--topp",
      low: high - span * 1.1,
      high,
      say,
      label: t("heat_title"),
      cell: mode === "layer" ? 16 : 2,
      rows,
      kind: mode,
    }),
    h(
      "div",
      { class: "cap" },
      h(
        "span",
        {},
        [mode === "layer" ? t("heat_layers") : t("heat_times"), rank ? t("heat_about", { rank }) : null]
          .filter(Boolean)
          .join(". "),
      ),
      h(
        "span",
        { class: "n" },
        `${L.num(low * 100, high - low < 0.05 ? 1 : 0)} – ${L.num(high * 100, high - low < 0.05 ? 1 : 0)} %`,
      ),
    ),
  );
};

// ---- samples
const samplesBox = (run) => {
  const samples = run.samples || [];
  if (!samples.length) return null;
  const n = (view.prompt = Math.min(view.prompt, samples.length - 1)),
    sample = samples[n],
    evals = run.series?.eval_loss;
  const heldOut = (step) => {
    const i = evals ? evals.step.indexOf(step) : -1;
    return i < 0 ? "" : L.num(evals.value[i]);
  };
  const turn = (by) => {
    view.prompt = n + by;
    draw();
  };
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("samples_title")),
      samples.length > 1
        ? h(
            "div",
            { class: "pager" },
            L.button("‹", () => turn(-1), "quiet", {
              "aria-label": t("samples_previous"),
              disabled: n === 0,
              "data-key": "sample-prev",
            }),
            h("span", { class: "soft" }, t("data_of", { n: n + 1, total: samples.length })),
            L.button("›", () => turn(1), "quiet", {
              "aria-label": t("samples_next"),
              disabled: n === samples.length - 1,
              "data-key": "sample-next",
            }),
          )
        : null,
    ),
    h(
      "p",
      { class: "prompt", tabindex: 0, role: "group", "aria-label": t("samples_prompt") },
      L.clip(sample.prompt, 600),
    ),
    h(
      "table",
      { class: "samples" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { class: "n" }, t("plot_step")),
          h("th", {}, t("samples_answer")),
          h("th", { class: "n" }, t("train_held_out")),
        ),
      ),
      h(
        "tbody",
        {},
        sample.outputs.map((output) =>
          h(
            "tr",
            {},
            h("td", { class: "n" }, L.int(output.step)),
            h(
              "td",
              { class: "said" },
              h(
                "div",
                { tabindex: 0, role: "group", "aria-label": `${t("plot_step")} ${output.step}` },
                L.clip(output.text, 900) || "–",
              ),
            ),
            h("td", { class: "n" }, heldOut(output.step)),
          ),
        ),
        sample.expected
          ? h(
              "tr",
              { class: "expected" },
              h("td", { class: "n soft" }, t("samples_expected")),
              h("td", { class: "said" }, h("div", {}, L.clip(sample.expected, 900))),
              h("td", {}),
            )
          : null,
      ),
    ),
  );
};

// ---- beside it
const factsBox = (run) => {
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
        row(t("run_hash"), title.hash),
        row(t("run_size"), L.bytes(s.size_bytes)),
        row(t("run_from"), s.imported ? t("run_imported") : ""),
        row(t("run_tracker"), title.tracker ? h("code", {}, title.tracker) : ""),
      ),
    ),
    nameAndNote(s, (data) => act("rename", { run_id: s.run_id, ...data }), draw),
    detailsBox(config, worker),
    h(
      "div",
      { class: "acts runacts" },
      nameButton(s, draw),
      L.button(t("train_again"), () => L.tell("train-settings", settingsOf(config)), "quiet", { "data-key": "again" }),
      L.button(
        t("train_bundle"),
        () => {
          view.packing = !view.packing;
          draw();
        },
        "quiet",
        { "data-key": "bundle", "aria-expanded": String(!!view.packing) },
      ),
      L.button(t("train_log"), showLog, "quiet", { "data-key": "log", "aria-expanded": String(view.log !== null) }),
      s.can_delete
        ? L.sure(t("train_delete"), t("train_delete_sure", { size: L.bytes(s.size_bytes) }), () =>
            act("delete", { run_id: s.run_id }).then((done) => done && choose(null)),
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
                  draw();
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
const detailsBox = (config, worker) => {
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
  return [fold("run_settings", settings), fold("run_versions", Object.entries(worker.versions || {}))];
};
const showLog = async () => {
  if (view.log !== null) {
    view.log = null;
    return draw();
  }
  const answer = await ask("log", { run_id: view.id });
  view.log = answer.error ? answer.error.message : answer.text;
  draw();
};
const memoryBox = (run) =>
  run.status.ledger
    ? h(
        "section",
        { class: "box" },
        h("h2", {}, t("memory"), L.help(t("mem_help"), t("memory"))),
        memoryBars(run.status.ledger),
      )
    : null;
const queueBox = () => {
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
            { type: "button", class: "link", onclick: () => choose(run.run_id), "data-key": `q-${run.run_id}` },
            run.name,
          ),
          h("span", { class: "soft" }, t(i ? "queue_waiting" : "queue_next")),
          h(
            "div",
            { class: "acts" },
            i
              ? L.button("↑", () => act("reorder", { run_id: run.run_id, place: i }), "quiet", {
                  "aria-label": t("queue_first", { name: run.name }),
                  "data-key": `up-${run.run_id}`,
                })
              : null,
            L.button(t("queue_cancel"), () => act("cancel", { run_id: run.run_id }), "quiet", {
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
const openerBox = () => {
  const start = () => {
    view.opening = true;
    draw();
    L.find("#train-side .opener input")?.focus();
  };
  if (!view.opening)
    return h("div", { class: "opener" }, L.button(t("runs_import_path"), start, "quiet", { "data-key": "opener" }));
  const submit = async (event) => {
    event.preventDefault();
    const made = await act("open_bundle", { path: view.path });
    if (!made) return;
    view.opening = false;
    choose(made.run_id);
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
        draw();
      },
      "quiet",
    ),
  );
};

// ---- all runs
const runsBox = () => {
  if (!view.runs.length) return null;
  const toggle = async (id, on) => {
    on ? view.compared.add(id) : view.compared.delete(id);
    await compare();
    draw();
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
    h(
      "div",
      { class: "scroll", tabindex: 0 },
      h(
        "table",
        { class: "runs" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, h("span", { class: "unseen" }, t("runs_compare"))),
            h("th", {}, t("runs_run")),
            h("th", {}, t("runs_state")),
            h("th", { class: "n" }, t("train_steps")),
            h("th", { class: "n" }, t("train_loss")),
            h("th", { class: "n" }, t("train_held_out")),
            h("th", { class: "n" }, t("runs_size")),
          ),
        ),
        h(
          "tbody",
          {},
          view.runs.map((run) =>
            h(
              "tr",
              { class: run.run_id === view.id ? "on" : "" },
              h(
                "td",
                {},
                h("input", {
                  type: "checkbox",
                  checked: view.compared.has(run.run_id),
                  "aria-label": t("runs_compare_one", { name: run.name }),
                  "data-key": `cmp-${run.run_id}`,
                  onchange: (event) => toggle(run.run_id, event.target.checked),
                }),
              ),
              h(
                "td",
                {},
                h(
                  "button",
                  {
                    type: "button",
                    class: "link",
                    "data-key": `run-${run.run_id}`,
                    "aria-current": run.run_id === view.id ? "true" : null,
                    onclick: () => choose(run.run_id),
                  },
                  run.name,
                ),
                h("div", { class: "soft" }, L.when(run.created)),
              ),
              h(
                "td",
                {},
                t(`state_${run.state}`),
                run.reason ? h("div", { class: "soft" }, t(`reason_${run.reason}`)) : null,
              ),
              h(
                "td",
                { class: "n", "data-name": t("train_steps") },
                run.total_steps ? `${L.int(run.step)} / ${L.int(run.total_steps)}` : "–",
              ),
              h("td", { class: "n", "data-name": t("train_loss") }, L.num(run.loss)),
              h("td", { class: "n", "data-name": t("train_held_out") }, L.num(run.eval_loss)),
              h("td", { class: "n", "data-name": t("runs_size") }, L.bytes(run.size_bytes)),
            ),
          ),
        ),
      ),
    ),
  );
};
