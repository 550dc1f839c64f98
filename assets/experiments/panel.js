/* What comes of races and searches, above the run: live curves or parallel coordinates, a table, files. */
import { plot } from "../lib/chart/lines.js";
import { parallel, stroke } from "../lib/chart/parallel.js";
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { table } from "../lib/table.js";
import { raceSvg, savePng, standalone } from "./draw.js";
import { experimentForm } from "./form.js";

const LOOK = {
  galore: { color: "var(--greedy)" },
  adamw: { color: "var(--topk)", dash: "7 4" },
  lora: { color: "var(--beam)", dash: "2 4" },
};
const GOING = ["running", "stopping"];

L.define("experiments", ({ el, server, trigger }) => {
  const ask = (question, data) => L.ask(server, question, data);
  const view = {
    id: null,
    groups: [],
    group: null,
    over: "tokens",
    open: null,
    on: null,
    error: null,
    lost: null,
    told: "",
  };

  // ---- what came of it
  const overview = L.newest((question) => ask("overview", question));
  let timer,
    looking = false,
    again = false; // something has changed since it began to look
  const look = async (force) => {
    if (looking && !force) return (again = true);
    looking = true;
    again = false;
    clearTimeout(timer);
    const answer = await overview({ group_id: view.id });
    looking = false;
    view.lost = answer.error || null; // beside what an action answered, which stays until the next one
    if (!answer.error) {
      view.groups = answer.groups;
      view.group = answer.group;
      view.id = answer.group?.group_id || null;
    }
    draw();
    const state = view.group ? `${view.id} ${view.group.state}` : "";
    if (view.told.startsWith(view.id || "?") && view.told !== state && !GOING.includes(view.group?.state))
      L.tell("run-ended");
    view.told = state;
    if (answer.lost) timer = setTimeout(look, 4000);
    else if (again) look();
  };
  const act = async (what, { group_id: id }) => {
    const answer = await ask(what, { group_id: id });
    view.error = answer.error || null;
    if (what === "delete_experiment" && !answer.error && view.id === id) view.id = null;
    look(true);
  };

  const draw = () => L.show(el, L.notice(view.error || view.lost), view.group ? box(view.group) : null);
  const mark = (id) => {
    view.on = id;
    draw();
  };

  /* What was not started here and is over stays folded: it is not what somebody came for. */
  const box = (group) => {
    const unfolded = view.open ?? GOING.includes(group.state);
    return h(
      "section",
      { class: "box", id: "exp-box" },
      h(
        "details",
        { class: "exp-fold", open: unfolded, ontoggle: (event) => (view.open = event.target.open) },
        h("summary", {}, h("h2", {}, name(group))),
        others(),
        stateLine(group),
        group.message ? L.notice({ message: group.message, hint: group.hint }) : null,
        group.kind === "race" ? racePlot(group) : parallelPlot(group),
        tableOf(group),
        foot(group),
      ),
    );
  };
  const name = (each) => t(`exp_title_${each.kind}`, { name: each.name });
  const others = () =>
    view.groups.length > 1
      ? L.menu({
          class: "small-select",
          "aria-label": t("exp_choose"),
          "data-key": "exp-choose",
          value: view.id,
          options: view.groups.map((each) => [each.group_id, `${name(each)} · ${L.when(each.created)}`]),
          onchange: (id) => {
            view.id = id;
            look(true);
          },
        })
      : null;
  const stateLine = (group) => {
    const going = GOING.includes(group.state),
      rung = Math.max(0, ...group.rows.map((row) => row.rung));
    const best = group.rows.find((row) => row.run_id === group.best);
    const failed = group.rows.filter((row) => row.state === "failed").length;
    const state = group.state === "completed" && failed === group.rows.length ? "failed" : group.state;
    return h(
      "div",
      { class: "exp-state" },
      h("b", { role: "status", id: "exp-state" }, t(`exp_state_${state}`)),
      h(
        "span",
        {},
        t("exp_done", {
          done: group.done - failed,
          runs: group.rows.length + group.rungs.slice(rung + 1).reduce((n, [count]) => n + (going ? count : 0), 0),
        }),
      ),
      failed ? h("span", { class: "is-failed" }, t("exp_failed", { n: failed })) : null,
      group.rungs.length ? h("span", {}, t("exp_round", { n: rung + 1, total: group.rungs.length })) : null,
      going && group.seconds_left ? h("span", {}, t("train_left", { time: L.duration(group.seconds_left) })) : null,
      h(
        "span",
        { class: "acts" },
        group.best_values
          ? L.button(
              t("exp_use"),
              () => {
                L.tell("train-settings", group.best_values);
              },
              "",
              { id: "exp-use", "data-key": "exp-use" },
            )
          : null,
        best?.model_id && group.best_task && group.best_task !== "classify"
          ? L.button(
              t("exp_try"),
              () => {
                L.wanted.model = { tuned: best.model_id, base: group.best_values?.model_id };
                L.tell("try-model", L.wanted.model);
                trigger("select", { model_id: best.model_id });
              },
              "",
              { id: "exp-try", "data-key": "exp-try" },
            )
          : null,
        going
          ? L.button(t("exp_cancel"), () => act("cancel_experiment", group), "", {
              "data-key": "exp-cancel",
              id: "exp-cancel",
              disabled: group.state === "stopping",
            })
          : L.sure(t("exp_delete"), t("exp_delete_sure"), () => act("delete_experiment", group)),
      ),
    );
  };

  const lines = (group) =>
    group.rows.flatMap((row) => {
      const style = LOOK[row.varied.method] || LOOK.galore,
        curves = row.curves;
      if (!curves) return [];
      const x = (curve) => curve[view.over === "tokens" ? "tokens" : "seconds"];
      return [
        { x: x(curves.train), y: curves.train.value, name: row.label, ...style },
        { x: x(curves.eval), y: curves.eval.value, name: `${row.label}, ${t("exp_held_out")}`, ...style, dots: true },
      ];
    });
  const plotOptions = () => ({
    xName: view.over === "tokens" ? t("exp_tokens") : "",
    xFormat: view.over === "tokens" ? L.int : L.duration,
    label: t("exp_train_loss"),
    empty: t("exp_plot_empty"),
  });
  const racePlot = (group) => {
    const drawn = lines(group);
    return h(
      "div",
      {},
      plot(drawn, [], plotOptions()),
      h(
        "div",
        { class: "cap" },
        h(
          "span",
          { class: "keys" },
          group.rows.map((row) =>
            h("span", { class: "key" }, stroke(LOOK[row.varied.method] || LOOK.galore), row.label),
          ),
          h("span", {}, t("exp_smooth")),
        ),
        h(
          "span",
          { class: "plot-picks" },
          L.choice(
            t("train_over"),
            [
              ["tokens", t("exp_tokens")],
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

  const score = (row) => row.eval_loss ?? row.loss;
  const sorted = (group) =>
    group.kind === "race"
      ? group.rows
      : [...group.rows].sort(
          (a, b) =>
            Number(b.run_id === group.best) - Number(a.run_id === group.best) ||
            b.rung - a.rung ||
            (score(a) ?? 1e9) - (score(b) ?? 1e9),
        );
  const parallelPlot = (group) => {
    const rows = group.rows.filter((row) => row.state === "completed" && score(row) !== null);
    if (!rows.length) return h("p", { class: "soft plot-empty" }, t("exp_parallel_empty"));
    const axes = [
      ...group.varied.map((key) => ({
        name: t(`f_${key}`),
        log: true,
        of: (row) => row.varied[key],
        say: (v) => String(Number(v.toPrecision(3))),
      })),
      ...(group.rungs.length
        ? [{ name: t("train_steps"), log: true, of: (row) => row.total_steps || 1, say: L.int }]
        : []),
      { name: t("exp_held_out"), of: score, say: (v) => L.num(v, 3) },
    ];
    const last = Math.max(...rows.map((row) => row.rung));
    return h(
      "div",
      {},
      parallel(rows, axes, {
        label: t("exp_parallel"),
        kind: (row) => (row.run_id === group.best ? "winner" : row.rung < last ? "fair" : ""),
        key: (row) => row.run_id,
        marked: view.on,
        on: mark,
        choose: open,
      }),
      h("div", { class: "cap" }, t("exp_parallel")),
    );
  };
  const open = (id) => {
    L.tell("run-started", id);
    document.querySelector("#train-run")?.scrollIntoView({ block: "start", behavior: "smooth" });
  };

  const spent = (seconds) =>
    seconds !== null && seconds < 10 ? t("seconds", { n: L.num(seconds, 1) }) : L.duration(seconds);
  const said = (key, value) =>
    value === undefined || value === null
      ? "–"
      : key === "method"
        ? t(`method_${value}`)
        : String(Number(Number(value).toPrecision(3)));
  const stateOf = (row) =>
    row.state === "planned" || row.state === "deleted"
      ? t(`exp_${row.state}`)
      : row.state === "running" && row.total_steps
        ? `${L.int(row.step)} / ${L.int(row.total_steps)}`
        : t(`state_${row.state}`);
  const METRICS = ["accuracy", "f1_macro", "reward_accuracy", "reward_margin", "forgetting_loss", "perplexity"];
  const tableOf = (group) => {
    const race = group.kind === "race",
      metrics = METRICS.filter((key) => group.rows.some((row) => key in row.metrics)),
      search = race ? [] : group.varied;
    const head = [
      h("th", {}, t("exp_run")),
      search.map((key) => h("th", { class: "n" }, t(`f_${key}`))),
      group.rungs.length ? h("th", { class: "n" }, t("train_steps")) : null,
      h("th", {}, t("runs_state")),
      h("th", { class: "n" }, t("exp_held_out")),
      metrics.map((key) => h("th", { class: "n" }, t(`exp_m_${key}`))),
      h("th", { class: "n" }, t("exp_train_loss")),
      h("th", { class: "n" }, t("exp_time")),
      h("th", { class: "n" }, t("exp_speed")),
      h("th", { class: "n" }, t("exp_peak")),
      h("th", { class: "n" }, t("exp_optimizer")),
    ];
    const body = sorted(group).map((row) => {
      const best = row.run_id === group.best,
        loss =
          race && row.eval_loss !== null && row.first_eval_loss !== null && row.eval_loss !== row.first_eval_loss
            ? `${L.num(row.first_eval_loss, 3)} → ${L.num(row.eval_loss, 3)}`
            : L.num(row.eval_loss, 3);
      const label = race
        ? row.label
        : `${row.rung && group.rungs.length ? `${t("exp_rung")} ${row.rung + 1}, ` : ""}${group.rows.indexOf(row) + 1}`;
      const link =
        row.run_id && row.state !== "deleted"
          ? h(
              "button",
              {
                type: "button",
                class: "link",
                "data-key": `exp-${row.run_id}`,
                "aria-label": t("exp_open_run", { name: row.label }),
                onclick: () => open(row.run_id),
              },
              label,
            )
          : label;
      return h(
        "tr",
        {
          "data-key": `row-${row.run_id}`,
          class: `${best ? "best" : ""} ${row.run_id && row.run_id === view.on ? "on" : ""}`,
          onmouseenter: () => mark(row.run_id),
          onmouseleave: () => mark(null),
        },
        h(
          "td",
          {},
          race ? stroke(LOOK[row.varied.method] || LOOK.galore) : null,
          " ",
          link,
          best ? h("span", { class: "badge" }, t("exp_best")) : null,
        ),
        search.map((key) => h("td", { class: "n" }, said(key, row.varied[key]))),
        group.rungs.length ? h("td", { class: "n" }, L.int(row.total_steps ?? group.rungs[row.rung]?.[1])) : null,
        h(
          "td",
          {},
          stateOf(row),
          row.state === "failed" && row.message ? h("div", { class: "soft" }, row.message) : null,
        ),
        h("td", { class: `n ${best ? "best" : ""}` }, loss),
        metrics.map((key) => h("td", { class: "n" }, L.num(row.metrics[key], 3))),
        h("td", { class: "n" }, L.num(row.loss, 3)),
        h("td", { class: "n" }, spent(row.seconds)),
        h("td", { class: "n" }, L.int(row.tokens_per_second)),
        h("td", { class: "n" }, L.bytes(row.peak_memory_bytes)),
        h("td", { class: "n" }, L.bytes(row.optimizer_bytes)),
      );
    });
    return h(
      "div",
      { class: "scroll exp-table", tabindex: 0, role: "group", "aria-label": name(group) },
      table({}, head, body),
    );
  };

  const foot = (group) => {
    const file = `${group.kind}-${group.group_id}`,
      svg = () =>
        group.kind === "race"
          ? raceSvg(lines(group), { title: name(group), ...plotOptions() })
          : standalone(el.querySelector(".parallel svg"), name(group));
    const csv = async () => {
      const answer = await ask("experiment_table", { group_id: group.group_id });
      if (answer.error) {
        view.error = answer.error;
        draw();
      } else L.save(`${file}.csv`, "text/csv", answer.text);
    };
    return h(
      "div",
      { class: "cap" },
      h(
        "span",
        { class: "exp-saves" },
        h("span", {}, t("exp_save")),
        L.button("CSV", csv, "quiet", { "data-key": "exp-csv" }),
        L.button("JSON", () => L.save(`${file}.json`, "application/json", JSON.stringify(group, null, 1)), "quiet", {
          "data-key": "exp-json",
        }),
        L.button("SVG", () => L.save(`${file}.svg`, "image/svg+xml", svg()), "quiet", { "data-key": "exp-svg" }),
        L.button("PNG", () => savePng(`${file}.png`, svg()), "quiet", { "data-key": "exp-png" }),
      ),
      h("span", {}, t("exp_optimizer_help")),
    );
  };

  experimentForm(server, async (id) => {
    Object.assign(view, { id, group: null, open: true });
    L.tell("datasets-changed");
    await look(true);
    el.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  const panel = el.closest(".tabitem") || el; // empty, it cannot be seen
  L.hearJobs(["experiment"], () => look(), panel);
  L.hearJobs(["run"], () => GOING.includes(view.group?.state) && look(), panel);
  L.whenShown(el, look);
  look();
});
