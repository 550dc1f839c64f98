/* The card that opens the train panel: three sentences on the task of the chosen data, its loss as a formula, and, when
 asked for, its numbers on one of the visitor's own records, before and after training. Closed cards stay closed. */
import { ask, button, define, h, hear, int, notice, num, show, t, tell } from "../lib/panel.js";
import { formula, kindOf } from "./formulas.js";
import { HACKABLE } from "./hackable.js";
import { TABLES } from "./tables.js";

/* What the numbers of a task that learns from rewards depend on beside the data. */
const OF_POLICY = [
  "policy_loss",
  "reward",
  "reward_text",
  "reward_model_id",
  "second_reward",
  "second_share",
  "reward_tokens",
  "pass_reward",
  "rollouts",
  "max_new_tokens",
  "rollout_temperature",
  "kl_weight",
  "clip_low",
  "clip_high",
];

const remembered = (task) => {
  try {
    return localStorage.getItem(`llmdemo-learn-${task}`) !== "closed";
  } catch {
    return true;
  }
};
const remember = (task, open) => {
  try {
    localStorage.setItem(`llmdemo-learn-${task}`, open ? "open" : "closed");
  } catch {
    /* a private window: then it is open again next time */
  }
};

define("learn", ({ el, server }) => {
  const state = { task: null, settings: null, shown: false, place: 0, found: null, error: null, busy: false };

  const compute = async () => {
    if (state.busy || !state.settings) return;
    state.busy = true;
    state.error = null;
    draw();
    const about = state.about,
      answer = await ask(server, "numbers", { config: state.settings, place: state.place });
    state.busy = false;
    if (about !== state.about) return compute(); // other data was chosen meanwhile
    state.error = answer.error || null;
    state.found = answer.error ? null : answer;
    if (!answer.error) state.place = answer.place;
    draw();
  };

  const draw = () => {
    const { task, kind } = state;
    if (!task) return;
    const openNumbers = (event) => {
      state.shown = event.target.open;
      if (state.shown && !state.found && !state.error) compute();
      else draw();
    };
    show(
      el,
      h(
        "details",
        { class: "learn", open: remembered(task), ontoggle: (event) => remember(task, event.target.open) },
        h("summary", {}, t(`learn_title_${task}`)),
        h(
          "div",
          { class: "learn-in" },
          h("div", {}, h("p", {}, t(`learn_about_${task}`)), h("p", { class: "soft" }, t(`learn_torch_${kind}`))),
          h("div", { class: "formula" }, formula(kind)),
          task === "grpo"
            ? h(
                "p",
                {},
                button(t("learn_hackable"), () => tell("train-settings", HACKABLE), "quiet", { id: "learn-hackable" }),
              )
            : null,
          !TABLES[task]
            ? null
            : h(
                "details",
                { class: "learn-numbers", open: state.shown, ontoggle: openNumbers },
                h("summary", { id: "learn-numbers" }, t("learn_numbers")),
                state.shown ? numbers() : null,
              ),
        ),
      ),
    );
  };

  const numbers = () => {
    const { found } = state;
    if (state.busy) return h("p", { class: "soft", role: "status" }, t("learn_computing"));
    if (state.error) return notice(state.error);
    if (!found) return null;
    const last = found.after || found.before;
    const next = () => {
      state.place += 1;
      compute();
    };
    return [
      h("p", { class: "prompt", tabindex: 0, role: "group", "aria-label": t("samples_prompt") }, found.text),
      h(
        "div",
        { class: "learn-table", tabindex: 0, role: "group", "aria-label": t("learn_numbers") },
        TABLES[found.task](found),
      ),
      h(
        "div",
        { class: "learn-line" },
        h("span", {}, t("learn_record", { n: int(found.record) })),
        found.places > 1 ? button(t("learn_other"), next, "quiet", { id: "learn-other" }) : null,
        last.cross_entropy === undefined ? null : h("span", {}, t("learn_same", { value: num(last.cross_entropy, 2) })),
        found.after ? null : h("span", {}, t("learn_no_after")),
      ),
    ];
  };

  // The form tells what is chosen; only what changes the numbers makes them stale.
  hear("train-form", (settings) => {
    const about = JSON.stringify(
      [
        "dataset_id",
        "model_id",
        "seed",
        "eval_share",
        "loss_on",
        "beta",
        "preference_loss",
        "label_smoothing",
        "goal",
        "simpo_gamma",
        "desired_weight",
        "undesired_weight",
        ...OF_POLICY,
      ].map((key) => settings[key]),
    );
    // What is learned: of the data's own task the numbers too, of a reward or of single answers the loss alone.
    const task = ["grpo", "reward", "kto"].includes(settings.goal) ? settings.goal : settings.task;
    const kind = kindOf({ ...settings, task });
    if (about === state.about) return;
    Object.assign(state, { about, settings, task, kind, found: null, error: null, place: 0 });
    draw();
    if (state.shown && TABLES[task]) compute();
  });
  // A finished run is what "after" was missing. On another panel, the numbers are computed when they are come back to.
  const missing = () =>
    state.shown && TABLES[state.task] && !state.found && !state.error && el.getClientRects().length > 0;
  hear("run-ended", () => {
    state.found = null;
    missing() ? compute() : draw();
  });
  new IntersectionObserver(() => {
    if (missing()) compute();
  }).observe(el);
});
