/* Beside a served model: what it was asked becomes data again, and a second model stands beside it. Drawn inside of the
   serving box, which asks the app; everything that somebody typed is a text node. */
import {
  ask as call,
  button,
  choice,
  entry,
  h,
  int,
  inUnits,
  labelled,
  menu,
  newest,
  notice,
  num,
  once,
  openPanel,
  percent,
  setTitles,
  sure,
  t,
  tell,
  when,
} from "../lib/panel.js";
import { table, td } from "../lib/table.js";

const STATES = ["new", "pairs", "all", "taken", "left", "done"];
const SHARES = [0.05, 0.1, 0.25, 0.5];
const SIDES = ["now", "beside"];

/** Which answer of a pair is shown first: a fixed one, whose place says nothing of its model. @param {number} n */
export const firstOf = (n) => SIDES[(Math.imul(n, 2654435761) >>> 31) & 1];

/** What a task's data set can be made of. @param {boolean} writes */
export const tasksOf = (writes) => (writes ? ["chat", "preference"] : ["classify"]);

/** @param {{share: number, low: number, high: number, of: number} | null} told A share and its interval. */
export const between = (told) =>
  told
    ? t("circle_between", {
        share: percent(told.share),
        low: percent(told.low),
        high: percent(told.high),
        n: int(told.of),
      })
    : "–";

/** One served model's part of the box. @param {any} server @param {string} name @param {() => void} draw */
export const makeCircle = (server, name, draw) => {
  const view = { open: false, known: null, error: null, state: "new", offset: 0, edits: {}, made: null, run: "" };
  const form = { task: "", into: null, title: "", model: "", mode: "share", share: 0.1 };

  const read = newest(() => call(server, "circle", { name, state: view.state, offset: view.offset }));
  const ask = async (what, data = {}) => {
    const answer = await (what === "circle" ? read() : call(server, what, { name, ...data }));
    view.error = answer.error || null;
    if (what === "circle" && !answer.error) view.known = answer;
    draw();
    return answer.error ? null : answer;
  };
  const act = once(async (what, data = {}) => {
    const answer = await ask(what, data);
    if (answer) await ask("circle");
    else await refresh(); // what was shown before it was done
    return answer;
  });
  const look = (state, offset = 0) => Object.assign(view, { state, offset }) && ask("circle");

  // ---- whether texts are kept
  const keepForm = ({ keeping, counts }) => {
    const set = (change) => act("keep_texts", Object.assign(keeping, change)); // shown at once
    return h(
      "div",
      { class: "keep" },
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          checked: keeping.on,
          "data-key": "keep",
          onchange: (event) => set({ on: event.target.checked }),
        }),
        " ",
        t("circle_keep"),
      ),
      keeping.on
        ? h(
            "label",
            { class: "pick days" },
            h("span", {}, t("circle_days")),
            entry({
              type: "number",
              min: 1,
              max: 365,
              value: String(keeping.days),
              "data-key": "keep-days",
              onchange: (value) => set({ days: Number.parseInt(value, 10) || keeping.days }),
            }),
          )
        : null,
      counts.all
        ? sure(t("circle_forget"), t("circle_forget_sure", { n: int(counts.all) }), () => act("forget_texts"))
        : null,
      h("p", { class: "soft print" }, t("circle_keep_about", { most: int(keeping.most) })),
    );
  };

  // ---- the review
  const review = (text, values) =>
    act("review_text", { number: text.number, verdict: text.verdict || "", ...values }).then(
      (done) => done && delete view.edits[text.number],
    );
  const answerOf = (text) => text.correction ?? text.answers[text.choice] ?? "";
  const turns = (text) =>
    typeof text.prompt === "string"
      ? h("p", { class: "said" }, text.prompt)
      : text.prompt.map((turn, i) =>
          h("p", { class: "said", key: i }, h("span", { class: "soft" }, `${turn.role} `), turn.content),
        );
  const pair = (text) => {
    const first = firstOf(text.number);
    const sides = first === "now" ? SIDES : [...SIDES].reverse();
    const shown = { now: text.answers[0], beside: text.beside };
    return h(
      "div",
      { class: "pairs" },
      sides.map((side, i) =>
        h(
          "div",
          { key: side },
          h("p", { class: "said" }, shown[side] || "–"),
          text.better
            ? h("span", { class: "soft" }, t(`circle_side_${side}`) + (text.better === side ? " ✓" : ""))
            : button(t(i ? "circle_second" : "circle_first"), () => review(text, { better: side }), "quiet"),
        ),
      ),
      text.better ? null : button(t("circle_same"), () => review(text, { better: "same" }), "quiet"),
    );
  };
  const marks = (text) =>
    [
      text.thumb === 1 ? t("circle_up") : text.thumb === -1 ? t("circle_down") : "",
      text.correction !== null ? t("circle_corrected") : "",
      text.verdict ? t(`circle_is_${text.verdict}`) : "",
    ].filter(Boolean);
  const record = (text) => {
    const typed = view.edits[text.number];
    const edit = entry({
      tag: "textarea",
      rows: 3,
      value: typed ?? answerOf(text),
      "aria-label": t("circle_answer"),
      "data-key": `answer-${text.number}`,
      onchange: (value) => {
        view.edits[text.number] = value;
        draw();
      },
    });
    const changed = typed !== undefined && typed.trim() && typed !== answerOf(text) ? { answer: typed } : {};
    return h(
      "li",
      { "data-key": `text-${text.number}` },
      h("p", { class: "soft print" }, [when(text.at), ...marks(text)].join(" · ")),
      turns(text),
      text.beside === null ? null : pair(text),
      h("label", { class: "learnt" }, h("span", { class: "soft" }, t("circle_answer")), edit),
      h(
        "div",
        { class: "acts" },
        button(t("circle_take"), () => review(text, { verdict: "take", ...changed }), "", {
          "data-key": `take-${text.number}`,
        }),
        button(t("circle_leave"), () => review(text, { verdict: "leave" }), "quiet"),
      ),
    );
  };
  const list = (known) => {
    const { counts, texts, total, offset, size } = known;
    const options = STATES.map((state) => [state, `${t(`circle_state_${state}`)} · ${int(counts[state])}`]);
    const pages = h(
      "div",
      { class: "acts" },
      offset ? button(t("circle_newer"), () => look(view.state, Math.max(0, offset - size)), "quiet") : null,
      offset + size < total ? button(t("circle_older"), () => look(view.state, offset + size), "quiet") : null,
    );
    return h(
      "div",
      {},
      labelled(
        t("circle_requests"),
        menu({ options, value: view.state, "data-key": "circle-state", onchange: (state) => look(state) }),
      ),
      texts.length
        ? h("ul", { class: "reviews" }, texts.map(record))
        : h("p", { class: "soft print" }, t(counts.all ? "circle_none_here" : "circle_none")),
      total > size ? pages : null,
    );
  };

  // ---- from what was taken to data, and to a run
  const makeSet = (known) => {
    const tasks = tasksOf(known.writes);
    const task = tasks.includes(form.task) ? form.task : tasks[0];
    const sets = setTitles(known.sets.filter((set) => set.task === task));
    const own = sets.some(([id]) => id === known.own_set) ? known.own_set : "";
    const into = sets.some(([id]) => id === form.into) || form.into === "" ? form.into : own;
    const make = async () => {
      const made = await act("feedback_dataset", { task, dataset_id: into || "", title: form.title });
      if (!made) return;
      view.made = made;
      tell("datasets-changed");
      tell("data-made", made.dataset_id);
      draw();
    };
    return h(
      "div",
      { class: "serveform" },
      tasks.length > 1
        ? choice(
            t("circle_task"),
            tasks.map((each) => [each, t(`circle_task_${each}`)]),
            task,
            (value) => {
              form.task = value;
              draw();
            },
          )
        : null,
      labelled(
        t("circle_into"),
        menu({
          options: [...sets, ["", t("circle_new_set")]],
          value: into ?? "",
          "data-key": "circle-into",
          onchange: (value) => {
            form.into = value;
            draw();
          },
        }),
      ),
      button(t("circle_make", { n: int(known.counts.taken) }), make, "strong", { "data-key": "circle-make" }),
    );
  };
  const train = async () => {
    const answer = await ask("circle_train", { dataset_id: view.made.dataset_id });
    if (!answer) return;
    view.run = answer.run_id;
    tell("run-started", answer.run_id);
    draw();
  };
  const madeNote = () => {
    const { made } = view;
    if (!made) return null;
    const said = t("circle_made", { name: made.name, version: int(made.version), n: made.kept });
    return h(
      "div",
      { class: "notice info", role: "status" },
      h("p", {}, view.run ? t("circle_training") : said),
      view.run
        ? null
        : h(
            "div",
            { class: "acts" },
            button(t("circle_train"), train, "", { "data-key": "circle-train" }),
            button(t("circle_look"), () => openPanel("data"), "quiet"),
          ),
    );
  };

  // ---- a second model beside it
  const begin = (event) => {
    event.preventDefault();
    return act("begin_trial", { model_id: form.model, mode: form.mode, share: form.share });
  };
  const trialForm = (known) => {
    if (!known.models.length) return h("p", { class: "soft print" }, t("trial_no_model"));
    if (!known.models.some((model) => model.id === form.model)) form.model = known.models[0].id;
    const set = (key) => (value) => {
      form[key] = key === "share" ? Number(value) : value;
      draw();
    };
    return h(
      "form",
      { class: "serveform", onsubmit: begin },
      labelled(
        t("trial_model"),
        menu({
          options: known.models.map((model) => [model.id, model.title]),
          value: form.model,
          "data-key": "trial-model",
          onchange: set("model"),
        }),
      ),
      labelled(
        t("trial_mode"),
        menu({
          options: (known.writes ? ["share", "shadow"] : ["share"]).map((mode) => [mode, t(`trial_mode_${mode}`)]),
          value: form.mode,
          "data-key": "trial-mode",
          onchange: set("mode"),
        }),
      ),
      form.mode === "share"
        ? labelled(
            t("trial_share"),
            menu({
              options: SHARES.map((share) => [String(share), percent(share)]),
              value: String(form.share),
              "data-key": "trial-share",
              onchange: set("share"),
            }),
          )
        : null,
      h("button", { class: "btn", type: "submit" }, t("trial_begin")),
    );
  };
  const compared = (trial) => {
    const both = SIDES.map((side) => trial[side]);
    const row = (word, tell_) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, t(word)),
        both.map((side) => h("td", {}, side ? tell_(side) : "–")),
      );
    const rows = [
      row("trial_requests", (side) => int(side.requests)),
      row("trial_liked", (side) => between(side.liked)),
      both.some((side) => side?.right) ? row("trial_right", (side) => between(side.right)) : null,
      row("trial_first", (side) => (side.first ? inUnits(num(side.first.p50, 2), "s") : "–")),
      row("trial_length", (side) => num(side.mean_tokens, 0)),
      row("trial_failed", (side) => int(side.failed)),
    ];
    const head = [td(), SIDES.map((side) => h("th", { scope: "col" }, t(`circle_side_${side}`)))];
    return table({ class: "servefigures trial" }, head, rows);
  };
  const trialPart = (known) => {
    const { trial, before } = known;
    const back = before
      ? h(
          "div",
          { class: "acts" },
          sure(t("trial_back", { title: before }), t("trial_back_sure"), () => act("roll_back"), {
            "data-key": "back",
          }),
        )
      : null;
    if (!trial) return [trialForm(known), back];
    const picked = trial.picks.liked
      ? h("p", { class: "print" }, t("trial_picks", { liked: between(trial.picks.liked) }))
      : null;
    return [
      h("p", { class: "print" }, t(`trial_is_${trial.mode}`, { title: trial.title, share: percent(trial.share) })),
      compared(trial),
      picked,
      h(
        "div",
        { class: "acts" },
        sure(t("trial_promote"), t("trial_promote_sure"), () => act("promote_trial"), { "data-key": "promote" }),
        sure(t("trial_end"), t("trial_end_sure"), () => act("end_trial"), { "data-key": "end-trial" }),
      ),
      back,
    ];
  };

  const toggle = (event) => {
    if (view.open === event.target.open || !event.target.classList.contains("circle")) return;
    view.open = event.target.open;
    if (view.open) ask("circle");
  };
  const part = (word, children) => h("div", { class: "circlepart", "data-key": word }, h("h3", {}, t(word)), children);
  const drawn = () =>
    h(
      "details",
      { class: "circle", open: view.open, ontoggle: toggle, "data-key": `circle-${name}` },
      h("summary", {}, t("circle_title")),
      notice(view.error),
      view.open && view.known
        ? [
            part("circle_keeping", keepForm(view.known)),
            part("circle_review", [list(view.known), view.known.counts.taken ? makeSet(view.known) : null, madeNote()]),
            part("trial_title", trialPart(view.known)),
          ]
        : null,
    );
  const idle = () => view.open && !Object.keys(view.edits).length && !document.activeElement?.closest(".reviews");
  const refresh = async () => {
    const answer = idle() && (await read());
    if (answer && !answer.error && idle()) view.known = answer; // what somebody reads, or has typed, stays where it is
    draw();
  };
  return { draw: drawn, look: refresh };
};
