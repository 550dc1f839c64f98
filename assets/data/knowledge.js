/* What a model knows already of the answers: asked before a run, and after it again. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { table, wide } from "../lib/table.js";

const CLASSES = ["highly", "maybe", "weakly", "unknown"];
const LISTED = 20;

export const knowledgeTool = (page) => {
  // looked: until then nobody knows whether a probe is going already
  const fresh = () => ({ probes: [], found: null, texts: new Map(), shown: "unknown", looked: false });
  let state = /** @type {any} */ (fresh());
  const probes = L.newest(() => page.ask("list_probes"));
  const look = async () => {
    const id = page.id;
    const answer = await probes();
    if (page.id !== id) return;
    state.error = answer.error;
    state.probes = answer.error ? [] : answer.filter((job) => job.spec.dataset_id === id);
    const [newest, before] = state.probes.filter((probe) => probe.result);
    if (newest && state.found?.of !== newest.job_id) {
      const found = await page.ask("probe_result", { job_id: newest.job_id, before_id: before?.job_id || "" });
      if (page.id !== id) return;
      if (found.error) state.error = found.error;
      else state.found = { ...found, of: newest.job_id, model: newest.model, earlier: before?.model };
    }
    state.looked = true;
    page.draw();
    if (state.found) list();
  };
  page.hearJobs("probe", look);
  const act = L.once(async (what, data) => {
    const answer = await page.ask(what, data);
    await look();
    state.error = answer.error || state.error;
    page.draw();
  });
  const indices = () => {
    const { found, shown } = state;
    return found[shown] || found.found.filter((each) => each.class === shown).map((each) => each.index);
  };
  const list = async () => {
    const { texts } = state; // of this data set, whichever is open when they come
    const missing = indices()
      .slice(0, LISTED)
      .filter((n) => !texts.has(n));
    if (!missing.length) return;
    const answer = await page.ask("texts", { indices: missing });
    for (const each of answer.texts || []) texts.set(each.index, each);
    page.draw();
  };
  const show = (which) => {
    state.shown = which;
    page.draw();
    list();
  };
  const drop = async () => {
    const unknown = new Set(state.found.found.filter((each) => each.class === "unknown").map((each) => each.index));
    const kept = Array.from({ length: state.found.records }, (_, n) => n).filter((n) => !unknown.has(n));
    const answer = await page.make("select_records", { recipe: { method: "chosen", indices: kept } });
    if (!answer?.error) return;
    state.error = answer.error;
    page.draw();
  };

  const form = () => {
    const models = page.choices.models.filter((model) => model.writes);
    state.spec = state.spec || { limit: 200 };
    if (!models.some(({ id }) => id === state.spec.model_id)) state.spec.model_id = models[0]?.id;
    const set = (key) => (value) => {
      state.spec[key] = value;
      page.draw();
    };
    const submit = (event) => {
      event.preventDefault();
      const { model_id, ...settings } = state.spec;
      act("probe_knowledge", { model_id, settings });
    };
    return h(
      "form",
      { class: "generate", onsubmit: submit },
      h("p", { class: "soft small" }, t("probe_about")),
      h(
        "div",
        { class: "map-bar" },
        L.labelled(
          t("probe_model"),
          L.menu({
            id: "probe-model",
            value: state.spec.model_id,
            options: models.map((model) => [model.id, L.clip(model.title, 60)]),
            onchange: set("model_id"),
          }),
        ),
        L.labelled(
          t("probe_limit"),
          L.entry({
            id: "probe-limit",
            type: "number",
            min: 1,
            value: state.spec.limit,
            onchange: (value) => set("limit")(Number(value)),
          }),
        ),
        h("button", { type: "submit", class: "btn strong", id: "probe-start" }, t("probe_go")),
      ),
    );
  };
  const counts = (by) =>
    h("p", { class: "small" }, CLASSES.map((name) => `${t(`probe_${name}`)} ${L.int(by?.[name] ?? 0)}`).join(" · "));
  const progress = (job) => {
    const { done, total, counts: by, eta_seconds: left } = job.progress;
    const rest = left ? t("generate_left", { time: L.duration(left) }) : "";
    return h(
      "div",
      {},
      h("p", {}, [t(`state_${job.state}`), rest].filter(Boolean).join(" · ")),
      L.progressBar(total ? done / total : null, t("probe_progress")),
      counts(by),
      L.button(t("map_stop"), () => act("stop_probe", { job_id: job.job_id }), "", { id: "probe-stop" }),
    );
  };
  const row = (each) => {
    const text = state.texts.get(each.index);
    if (!text) return null;
    const [asked, right] = text.turns.filter((turn) => turn.role !== "system");
    return h(
      "tr",
      { key: each.index },
      h("td", { class: "n soft" }, L.int(text.row)),
      h("td", { class: "excerpt" }, L.clip(asked.content, 160)),
      h("td", {}, L.clip(right?.content || "", 80)),
      h("td", { class: "soft" }, L.clip(each.answer, 80)),
    );
  };
  const result = () => {
    const { found, shown } = state;
    const kinds = [
      ...CLASSES.filter((name) => found.counts[name]),
      ...["lost", "learned"].filter((key) => found[key]?.length),
    ];
    const number = (key) => found[key]?.length ?? found.counts[key];
    const listed = new Set(indices().slice(0, LISTED));
    return h(
      "section",
      {},
      h("p", {}, t("probe_found", { model: found.model, n: L.int(found.asked) })),
      h("p", {}, found.advice),
      found.before ? h("p", { class: "soft small" }, t("probe_before", { model: found.earlier })) : null,
      L.choice(
        t("probe_show"),
        kinds.map((key) => /** @type {[string, string]} */ ([key, `${t(`probe_${key}`)} ${L.int(number(key))}`])),
        shown,
        show,
      ),
      wide(
        table(
          { class: "labels" },
          ["labels_row", "probe_question", "probe_right", "probe_said"].map((key) => h("th", { scope: "col" }, t(key))),
          found.found.filter((each) => listed.has(each.index)).map(row),
        ),
      ),
      found.counts.unknown ? L.button(t("probe_drop"), drop, "", { id: "probe-drop", disabled: page.making }) : null,
    );
  };
  const draw = () => {
    const [job] = state.probes;
    const going = L.ACTIVE.includes(job?.state);
    const ended = ["failed", "stopped"].includes(job?.state);
    const kind = job?.state === "stopped" ? "info" : "error";
    const resume = () => act("resume_probe", { job_id: job.job_id });
    return [
      L.notice(state.error),
      ended ? L.notice({ message: job.message, hint: job.hint, kind }) : null,
      ended ? L.button(t("generate_resume"), resume, "", { id: "probe-resume" }) : null,
      going ? progress(job) : state.looked ? form() : null,
      state.found ? result() : null,
    ];
  };
  return {
    draw,
    open: look,
    reset: () => {
      state = fresh();
    },
  };
};
