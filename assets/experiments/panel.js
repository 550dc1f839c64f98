/* Races and searches. Their form stands beside the settings of the train form and takes those as its base; what comes of
 them is drawn below the run. Drawings for files are in experiments-draw.js. Knows no widget. */
import * as L from "../lib/page.js";
import { parallel, raceKey, raceSvg, savePng, standalone } from "./draw.js";
import { plot } from "../lib/chart.js";
import { h, t } from "../lib/page.js";
import { trainForm } from "../train/form.js";

const METHODS = ["galore", "adamw", "lora"];
const LOOK = {
  galore: { color: "var(--greedy)" },
  adamw: { color: "var(--topk)", dash: "7 4" },
  lora: { color: "var(--beam)", dash: "2 4" },
};
const GOING = ["running", "stopping"];

L.define("experiments", ({ el, server, trigger }) => {
  const ask = (name, data) => L.ask(server, name, data);
  const form = {
    kind: "race",
    open: false,
    racing: new Set(METHODS),
    own: {},
    strategy: "halving",
    vary: new Set(["learning_rate"]),
    low: {},
    high: {},
    list: {},
    runs: 9,
    keep: false,
    busy: false,
    space: null,
    most: 0,
  };
  const view = { id: null, groups: [], group: null, over: "tokens", on: null, error: null, told: "" };

  // ---- what is asked for
  // What the form says holds for its own method; the others start from their defaults.
  const own = (method, key) =>
    form.own[method]?.[key] ??
    { ...trainForm.defaults(method), ...(method === trainForm.method() ? trainForm.wanted() : {}) }[key];
  const fallback = (key) => {
    const base = { ...trainForm.defaults(), ...trainForm.wanted() }[key];
    return base || 1;
  };
  const whole = (key) => key === "rank" || key === "update_proj_gap";
  const round = (key, value) => (whole(key) ? Math.max(1, Math.round(value)) : Number(value.toPrecision(2)));
  const low = (key) => form.low[key] ?? round(key, fallback(key) / 4),
    high = (key) => form.high[key] ?? round(key, fallback(key) * (key === "rank" ? 2 : 4));
  const list = (key) => form.list[key] ?? [0.5, 1, 2].map((factor) => round(key, fallback(key) * factor)).join(", ");
  const numbers = (text) =>
    text
      .split(/[,;\s]+/)
      .filter(Boolean)
      .map(Number);
  const keys = () => Object.keys(form.space || {}).filter((key) => form.space[key].includes(trainForm.method()));
  const varied = () => keys().filter((key) => form.vary.has(key));
  const steps = () => ({ ...trainForm.defaults(), ...trainForm.wanted() }).max_steps;

  // The rounds of successive halving by thirds, as the app will plan them: for the sentence about what it costs.
  const rungs = () => {
    const least = Math.max(1, Math.min(10, Math.floor(steps() / 9))),
      fit = (value) => Math.floor(Math.log(Math.max(1, value)) / Math.log(3) + 1e-9);
    const count = 1 + Math.min(fit(form.runs), fit(steps() / least));
    return Array.from({ length: count }, (_, i) => [
      Math.floor(form.runs / 3 ** i),
      Math.max(least, Math.round(steps() / 3 ** (count - 1 - i))),
    ]);
  };
  const cost = () => {
    const plan =
      form.strategy === "halving"
        ? rungs()
        : [
            [
              form.strategy === "grid" ? varied().reduce((n, key) => n * numbers(list(key)).length, 1) : form.runs,
              steps(),
            ],
          ];
    const runs = plan.reduce((n, [count]) => n + count, 0),
      all = plan.reduce((n, [count, each]) => n + count * each, 0);
    const said = [t("exp_cost", { runs: L.int(runs), steps: L.int(all) })];
    if (plan.length > 1)
      said.push(plan.map(([count, each]) => t("exp_cost_rung", { runs: count, steps: L.int(each) })).join(" → "));
    if (trainForm.seconds()) said.push(t("data_n_about", { time: L.duration((trainForm.seconds() * all) / steps()) }));
    return said.join(" · ");
  };

  const start = async (name, more) => {
    form.busy = true;
    drawForm();
    const answer = await ask(name, { config: trainForm.wanted(), ...more });
    form.busy = false;
    trainForm.fail(answer.error);
    if (!answer.error) {
      form.open = false;
      Object.assign(view, { id: answer.group_id, group: null });
      L.tell("runs-changed");
      L.tell("datasets-changed");
      await look(true);
      el.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
    drawForm();
  };
  const startRace = () => {
    const methods = METHODS.filter((method) => form.racing.has(method));
    if (methods.length < 2) return trainForm.fail({ message: t("exp_too_few") });
    const changed = Object.fromEntries(
      methods.filter((method) => form.own[method]).map((method) => [method, form.own[method]]),
    );
    start("start_race", { race: { methods, own: changed } });
  };
  const startSearch = () => {
    const space = Object.fromEntries(
      varied().map((key) => [key, form.strategy === "grid" ? numbers(list(key)) : { low: low(key), high: high(key) }]),
    );
    start("start_search", {
      search: {
        strategy: form.strategy,
        space,
        keep: form.keep ? "all" : "best",
        ...(form.strategy === "grid" ? {} : { runs: form.runs }),
      },
    });
  };

  const number = (label, value, set, id) =>
    h("input", {
      class: "entry",
      type: "number",
      step: "any",
      inputmode: "decimal",
      "aria-label": label,
      "data-key": id,
      value,
      onchange: (event) => {
        set(event.target.value.trim() === "" ? undefined : Number(event.target.value));
        drawForm();
      },
    });
  const tick = (text, on, set, id, label) =>
    h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: on,
        "aria-label": label,
        "data-key": id,
        onchange: (event) => {
          set(event.target.checked);
          drawForm();
        },
      }),
      h("span", {}, text),
    );
  const flip = (set, key) => (on) => {
    on ? set.add(key) : set.delete(key);
  };

  const raceForm = () => [
    h(
      "div",
      { class: "exp-rows" },
      METHODS.map((method) =>
        h(
          "div",
          { class: "exp-row" },
          tick(
            t(`method_${method}`),
            form.racing.has(method),
            flip(form.racing, method),
            `race-${method}`,
            t("exp_race_on", { method: t(`method_${method}`) }),
          ),
          ["learning_rate", ...(method === "adamw" ? [] : ["rank"])].map((key) =>
            h(
              "span",
              { class: "small-field" },
              t(`f_${key}`),
              number(
                `${t(`method_${method}`)}: ${t(`f_${key}`)}`,
                own(method, key),
                (value) => {
                  form.own[method] = { ...form.own[method], [key]: value };
                  if (value === undefined) delete form.own[method][key];
                },
                `race-${method}-${key}`,
              ),
            ),
          ),
        ),
      ),
    ),
    h("p", { class: "soft" }, t("exp_race_about", { steps: L.int(steps()) })),
    h(
      "div",
      { class: "exp-go" },
      L.button(form.busy ? t("exp_starting") : t("exp_race_start"), startRace, "", {
        id: "race-start",
        disabled: form.busy,
      }),
    ),
  ];

  const searchForm = () => [
    h(
      "div",
      { class: "exp-go" },
      L.choice(
        t("exp_strategy"),
        [
          ["halving", t("exp_halving")],
          ["random", t("exp_random")],
          ["grid", t("exp_grid")],
        ],
        form.strategy,
        (value) => {
          form.strategy = value;
          drawForm();
          form.slot.querySelector(`input[value=${value}]`)?.focus();
        },
      ),
    ),
    h("p", { class: "soft" }, t(`exp_${form.strategy}_help`)),
    h(
      "div",
      { class: "exp-rows" },
      keys().map((key) =>
        h(
          "div",
          { class: "exp-row vary" },
          tick(
            t(`f_${key}`),
            form.vary.has(key),
            flip(form.vary, key),
            `vary-${key}`,
            t("exp_vary", { name: t(`f_${key}`) }),
          ),
          !form.vary.has(key)
            ? h("span", { class: "soft" }, String(fallback(key)))
            : form.strategy === "grid"
              ? h("input", {
                  class: "entry list",
                  "data-key": `list-${key}`,
                  maxlength: 400,
                  value: list(key),
                  "aria-label": t("exp_values", { name: t(`f_${key}`) }),
                  onchange: (event) => {
                    form.list[key] = event.target.value.trim() || undefined;
                    drawForm();
                  },
                })
              : h(
                  "span",
                  { class: "small-field" },
                  t("exp_from"),
                  number(
                    t("exp_low", { name: t(`f_${key}`) }),
                    low(key),
                    (value) => {
                      form.low[key] = value;
                    },
                    `low-${key}`,
                  ),
                  t("exp_to"),
                  number(
                    t("exp_high", { name: t(`f_${key}`) }),
                    high(key),
                    (value) => {
                      form.high[key] = value;
                    },
                    `high-${key}`,
                  ),
                ),
        ),
      ),
    ),
    h(
      "div",
      { class: "exp-go" },
      form.strategy === "grid"
        ? null
        : h(
            "label",
            { class: "small-field" },
            h("span", {}, `${t("exp_runs")} `),
            number(
              t("exp_runs"),
              form.runs,
              (value) => {
                form.runs = value === undefined ? 9 : value;
              },
              "search-runs",
            ),
          ),
      tick(
        t("exp_keep"),
        form.keep,
        (on) => {
          form.keep = on;
        },
        "search-keep",
      ),
    ),
    h("p", { class: "soft", role: "status" }, cost()),
    h(
      "div",
      { class: "exp-go" },
      L.button(form.busy ? t("exp_starting") : t("exp_search_start"), startSearch, "", {
        id: "search-start",
        disabled: form.busy,
      }),
    ),
  ];

  const drawForm = () => {
    if (!trainForm.slot || !form.space) return;
    form.slot = trainForm.slot;
    L.keepFocus(form.slot, () =>
      L.show(
        form.slot,
        h(
          "details",
          {
            class: "advanced",
            open: form.open,
            ontoggle: (event) => {
              if (event.target.open !== form.open) {
                form.open = event.target.open;
                drawForm();
              }
            },
          },
          h("summary", { id: "exp-open" }, t("exp_open")),
          form.open
            ? h(
                "div",
                { class: "exp-form" },
                L.choice(
                  t("exp_kind"),
                  [
                    ["race", t("exp_race")],
                    ["search", t("exp_search")],
                  ],
                  form.kind,
                  (value) => {
                    form.kind = value;
                    drawForm();
                  },
                ),
                form.kind === "race" ? raceForm() : searchForm(),
              )
            : null,
        ),
      ),
    );
  };

  // ---- what came of it
  let timer,
    looking = false;
  const look = async (force) => {
    if (looking && !force) return;
    looking = true;
    clearTimeout(timer);
    const answer = await ask("overview", { group_id: view.id });
    looking = false;
    view.error = answer.error || null;
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
    if ((GOING.includes(view.group?.state) || answer.lost) && L.visible(el))
      timer = setTimeout(look, answer.lost ? 4000 : 1500);
  };
  const act = async (name) => {
    const answer = await ask(name, { group_id: view.id });
    view.error = answer.error || null;
    if (name === "delete" && !answer.error) view.id = null;
    L.tell("runs-changed");
    look(true);
  };

  const keep = L.keeper();
  const draw = () => {
    const group = view.group;
    const figures = group && [
      view.id,
      group.state,
      group.rows.map((row) => [row.state, row.step, row.eval_loss]),
      view.over,
    ];
    L.keepFocus(el, () =>
      L.arrange(
        el,
        keep("error", view.error, () => (view.error ? L.notice(view.error) : null)),
        group ? keep("box", figures, () => box(group)) : null,
      ),
    );
    highlight();
  };

  const box = (group) =>
    h(
      "section",
      { class: "box", id: "exp-box" },
      titleLine(group),
      stateLine(group),
      group.message ? L.notice({ message: group.message, hint: group.hint }) : null,
      group.kind === "race" ? racePlot(group) : parallelPlot(group),
      tableOf(group),
      foot(group),
    );
  const name = (each) => t(`exp_title_${each.kind}`, { name: each.name });
  const titleLine = (group) =>
    h(
      "div",
      { class: "exp-title" },
      h("h2", {}, name(group)),
      view.groups.length > 1
        ? h(
            "select",
            {
              "aria-label": t("exp_choose"),
              "data-key": "exp-choose",
              onchange: (event) => {
                view.id = event.target.value;
                look(true);
              },
            },
            view.groups.map((each) => {
              const o = h("option", { value: each.group_id }, `${name(each)} · ${L.when(each.created)}`);
              o.selected = each.group_id === view.id;
              return o;
            }),
          )
        : null,
    );
  const stateLine = (group) => {
    const going = GOING.includes(group.state),
      rung = Math.max(0, ...group.rows.map((row) => row.rung));
    const best = group.rows.find((row) => row.run_id === group.best);
    return h(
      "div",
      { class: "exp-state" },
      h("b", { role: "status", id: "exp-state" }, t(`exp_state_${group.state}`)),
      h(
        "span",
        {},
        t("exp_done", {
          done: group.done,
          runs: group.rows.length + group.rungs.slice(rung + 1).reduce((n, [count]) => n + (going ? count : 0), 0),
        }),
      ),
      group.rungs.length ? h("span", {}, t("exp_round", { n: rung + 1, total: group.rungs.length })) : null,
      going && group.seconds_left ? h("span", {}, t("train_left", { time: L.duration(group.seconds_left) })) : null,
      h(
        "span",
        { class: "acts" },
        best
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
                L.wanted.model = best.model_id;
                L.tell("try-model", best.model_id);
                trigger("select", { model_id: best.model_id });
              },
              "",
              { id: "exp-try", "data-key": "exp-try" },
            )
          : null,
        going
          ? L.button(t("exp_cancel"), () => act("cancel"), "", {
              "data-key": "exp-cancel",
              id: "exp-cancel",
              disabled: group.state === "stopping",
            })
          : L.sure(t("exp_delete"), t("exp_delete_sure"), () => act("delete")),
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
            h("span", { class: "key" }, raceKey(LOOK[row.varied.method] || LOOK.galore), row.label),
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
              el.querySelector(`input[value=${over}]`)?.focus({ preventScroll: true });
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
            (b.run_id === group.best) - (a.run_id === group.best) ||
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
        on: (id) => {
          view.on = id;
          highlight();
        },
        choose: open,
      }),
      h("div", { class: "cap" }, t("exp_parallel")),
    );
  };
  const highlight = () => {
    for (const node of el.querySelectorAll("[data-run]")) node.classList.toggle("on", node.dataset.run === view.on);
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
          "data-run": row.run_id,
          class: best ? "best" : "",
          onmouseenter: () => {
            view.on = row.run_id;
            highlight();
          },
          onmouseleave: () => {
            view.on = null;
            highlight();
          },
        },
        h(
          "td",
          {},
          race ? raceKey(LOOK[row.varied.method] || LOOK.galore) : null,
          " ",
          link,
          best ? h("span", { class: "badge" }, t("exp_best")) : null,
        ),
        search.map((key) => h("td", { class: "n" }, said(key, row.varied[key]))),
        group.rungs.length ? h("td", { class: "n" }, L.int(row.total_steps ?? group.rungs[row.rung]?.[1])) : null,
        h("td", {}, stateOf(row)),
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
      h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    );
  };

  const foot = (group) => {
    const file = `${group.kind}-${group.group_id}`,
      svg = () =>
        group.kind === "race"
          ? raceSvg(lines(group), { title: name(group), ...plotOptions() })
          : standalone(el.querySelector(".parallel svg"), name(group));
    const csv = async () => {
      const answer = await ask("table", { group_id: view.id });
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

  // Only what is drawn counts: a redraw under the pointer would lose its click.
  L.hear("train-form", (settings) => {
    const about = JSON.stringify([settings, trainForm.seconds?.()]);
    if (about !== form.about) {
      form.about = about;
      drawForm();
    }
  });
  L.hear("runs-pulse", () => L.visible(el) && look());
  L.hear("runs-changed", () => view.group && look());
  document.addEventListener("visibilitychange", () => L.visible(el) && look());
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && look()).observe(el);
  ask("choices").then((choices) => {
    if (!choices.error) {
      Object.assign(form, choices);
      drawForm();
    }
  });
  look();
});
