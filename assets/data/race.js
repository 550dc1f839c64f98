/* A made data set against one that people wrote: three runs, and what each learned of the same held-out answers. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

export const raceTool = (page) => {
  const fresh = () => ({ races: null, people: [], number: 500 });
  let state = /** @type {any} */ (fresh());
  const races = L.newest(() => page.ask("races"));
  const look = async () => {
    const id = page.id;
    const answer = await races();
    if (page.id !== id) return;
    Object.assign(state, { error: answer.error, races: answer.races || [], people: answer.people || [] });
    page.draw();
  };
  page.hearJobs("data_race", look);
  const act = async (what, data) => {
    state.busy = true;
    page.draw();
    const answer = await page.ask(what, data);
    state.busy = false;
    await look();
    state.error = answer.error || state.error;
    page.draw();
  };
  const form = () => {
    if (!state.people.length) return h("p", {}, t("race_no_people"));
    const people = state.people.some((each) => each.dataset_id === state.id) ? state.id : state.people[0].dataset_id;
    const submit = (event) => {
      event.preventDefault();
      act("start_race", { people_id: people, number: state.number });
    };
    return h(
      "form",
      { class: "generate", onsubmit: submit },
      h("p", { class: "soft small" }, t("race_about")),
      h(
        "div",
        { class: "map-bar" },
        L.labelled(
          t("race_people"),
          L.menu({
            id: "race-people",
            value: people,
            options: L.setTitles(state.people),
            onchange: (value) => {
              state.id = value;
              page.draw();
            },
          }),
        ),
        L.labelled(
          t("race_number"),
          L.entry({
            id: "race-number",
            type: "number",
            min: 4,
            value: state.number,
            onchange: (value) => {
              state.number = Number(value);
            },
          }),
        ),
        h("button", { type: "submit", class: "btn strong", id: "race-start", disabled: state.busy }, t("race_go")),
      ),
    );
  };
  const partName = ({ part, people, made }) => t(`race_part_${part}`, { people: L.int(people), made: L.int(made) });
  const between = ({ low, high }) => (low === null ? "" : ` (${L.num(low, 3)} … ${L.num(high, 3)})`);
  const signed = (value) => `${value > 0 ? "+" : ""}${L.num(value, 3)}`;
  const verdict = (row, count) => {
    const { low, high } = row.difference;
    const key = low > 0 ? "race_worse" : high < 0 ? "race_better" : "race_alike";
    return h("p", {}, t(key, { part: partName(row), n: L.int(count) }));
  };
  const found = ({ held_out: count, rows }) =>
    h(
      "div",
      {},
      h(
        "div",
        { class: "scroll", tabindex: 0, role: "group", "aria-label": t("race_table") },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", {}, t("race_learned_from")),
              h("th", { class: "n" }, t("race_loss")),
              h("th", { class: "n" }, t("race_difference")),
            ),
          ),
          h(
            "tbody",
            {},
            rows.map((row) =>
              h(
                "tr",
                { key: row.part },
                h("td", {}, partName(row)),
                h("td", { class: "n" }, row.loss ? `${L.num(row.loss.mean, 3)}${between(row.loss)}` : "–"),
                h(
                  "td",
                  { class: "n" },
                  row.difference ? `${signed(row.difference.value)}${between(row.difference)}` : "–",
                ),
              ),
            ),
          ),
        ),
      ),
      rows.filter((row) => ["made", "both"].includes(row.part) && row.difference).map((row) => verdict(row, count)),
      h("p", { class: "soft small" }, t("race_how", { n: L.int(count) })),
    );
  const one = (job) => {
    const going = L.ACTIVE.includes(job.state);
    const steps = job.runs.reduce((sum, run) => sum + (run.state === "completed" ? run.total_steps : run.step || 0), 0);
    const whole = job.runs.reduce((sum, run) => sum + (run.total_steps || 0), 0);
    return h(
      "section",
      { key: job.job_id, class: "chosen" },
      h("h4", {}, `${job.name} · ${L.when(job.created)}`),
      job.result ? found(job.result) : h("p", {}, t(`state_${job.state}`)),
      going ? L.progressBar(whole ? steps / whole : null, t("race_progress")) : null,
      job.message && job.state === "failed" ? L.notice({ message: job.message, hint: job.hint }) : null,
      going ? L.button(t("map_stop"), () => act("stop_race", { job_id: job.job_id }), "", { id: "race-stop" }) : null,
      ["stopped", "failed"].includes(job.state)
        ? L.button(t("generate_resume"), () => act("resume_race", { job_id: job.job_id }), "quiet")
        : null,
    );
  };
  const draw = () => {
    if (!state.races) return [L.notice(state.error)];
    return [L.notice(state.error), form(), state.races.map(one)];
  };
  return { draw, open: look, reset: () => (state = fresh()) };
};
