/* The form of races and searches: it is drawn beside the settings of the train form and takes those as its base. */
import { ask as call, button, choice, duration, entry, h, hear, int, once, show, t } from "../lib/panel.js";
import { trainForm } from "../train/form.js";

export const METHODS = ["galore", "adamw", "lora"];

/**
 * Draws the form into its place.
 * @param {Record<string, (data: any) => Promise<any>>} server
 * @param {(groupId: string) => void} started is told of what was started
 */
export const experimentForm = (server, started) => {
  const ask = (name, data) => call(server, name, data);
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
  const low = (key) => form.low[key] ?? round(key, fallback(key) / 4);
  const high = (key) => form.high[key] ?? round(key, fallback(key) * (key === "rank" ? 2 : 4));
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
    const said = [t("exp_cost", { runs: int(runs), steps: int(all) })];
    if (plan.length > 1)
      said.push(plan.map(([count, each]) => t("exp_cost_rung", { runs: count, steps: int(each) })).join(" → "));
    if (trainForm.seconds()) said.push(t("data_n_about", { time: duration((trainForm.seconds() * all) / steps()) }));
    return said.join(" · ");
  };

  const start = async (name, more) => {
    form.busy = true;
    draw();
    const { name: _, ...config } = trainForm.wanted(); // its runs have names of their own
    const answer = await ask(name, { config, ...more });
    form.busy = false;
    trainForm.fail(answer.error || null);
    if (!answer.error) {
      form.open = false;
      started(answer.group_id);
    }
    draw();
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
    entry({
      type: "number",
      step: "any",
      inputmode: "decimal",
      "aria-label": label,
      "data-key": id,
      value,
      onchange: (raw) => {
        set(raw.trim() === "" ? undefined : Number(raw));
        draw();
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
          draw();
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
    h("p", { class: "soft" }, t("exp_race_about", { steps: int(steps()) })),
    h(
      "div",
      { class: "exp-go" },
      button(form.busy ? t("exp_starting") : t("exp_race_start"), startRace, "", {
        id: "race-start",
        disabled: form.busy || trainForm.waits(), // for data that Train was opened for
      }),
    ),
  ];

  const searchForm = () => [
    h(
      "div",
      { class: "exp-go" },
      choice(
        t("exp_strategy"),
        [
          ["halving", t("exp_halving")],
          ["random", t("exp_random")],
          ["grid", t("exp_grid")],
        ],
        form.strategy,
        (value) => {
          form.strategy = value;
          draw();
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
              ? entry({
                  class: "entry list",
                  "data-key": `list-${key}`,
                  maxlength: 400,
                  value: list(key),
                  "aria-label": t("exp_values", { name: t(`f_${key}`) }),
                  onchange: (raw) => {
                    form.list[key] = raw.trim() || undefined;
                    draw();
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
      button(form.busy ? t("exp_starting") : t("exp_search_start"), startSearch, "", {
        id: "search-start",
        disabled: form.busy || trainForm.waits(),
      }),
    ),
  ];

  const draw = () => {
    if (!trainForm.slot || !form.space) return;
    const open = (event) => {
      form.open = event.target.open;
      draw();
    };
    /** @type {[string, string][]} */
    const kinds = [
      ["race", t("exp_race")],
      ["search", t("exp_search")],
    ];
    const take = (kind) => {
      form.kind = kind;
      draw();
    };
    const fields = () => [
      choice(t("exp_kind"), kinds, form.kind, take),
      form.kind === "race" ? raceForm() : searchForm(),
    ];
    show(
      trainForm.slot,
      h(
        "details",
        { class: "advanced", open: form.open, ontoggle: open },
        h("summary", { id: "exp-open" }, t("exp_open")),
        form.open ? h("div", { class: "exp-form" }, fields()) : null,
      ),
    );
  };

  const read = once(async () => {
    const choices = await ask("choices");
    if (!choices.error) Object.assign(form, choices);
    draw();
  });
  hear("train-form", (settings) => {
    if (!form.space) read(); // the app was not reached before
    const about = JSON.stringify([settings, trainForm.seconds?.(), trainForm.waits()]);
    if (about === form.about) return;
    form.about = about;
    draw();
  });
  read();
};
