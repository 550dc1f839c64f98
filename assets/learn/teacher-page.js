/* The teacher's page: runs that are prepared once and kept, plans of a lesson, what a class can do at once, the
   quiz's answers. Knows no view of a lesson. */
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";

const WHO = ["own", "shared", "teacher"];
const RACES = ["facts", "instructions"];
const FAILED = ["failed", "stopped"];
const isGoing = (run) => run.state !== "completed" && !FAILED.includes(run.state);

/** All runs that lessons start, made at a button's press; those that are there are found again. */
class Prepared extends Component {
  state = { runs: [], error: null, busy: false };
  gone = false;
  componentWillUnmount() {
    this.gone = true;
  }
  ask = (name, asked = {}) => L.ask(this.props.server, name, asked);
  begin = async () => {
    this.setState({ busy: true, error: null });
    const first = await this.ask("begin");
    if (first.error) return this.setState({ busy: false, error: first.error });
    const runs = [{ lesson: "start", ids: [first.run_id] }];
    for (const kind of RACES) if (!(await this.add(runs, kind))) return;
    this.follow([...runs, { lesson: "hacking", ids: [] }]);
  };
  /** Starts the race `kind`; false where it is refused.
   * @param {any[]} runs @param {string} kind @param {any} [from] */
  add = async (runs, kind, from = {}) => {
    const race = await this.ask("race", { kind, ...from });
    if (race.error) this.setState({ busy: false, error: race.error });
    else runs.push({ lesson: kind, ids: race.runs.map((run) => run.run_id) });
    return !race.error;
  };
  /** The last lesson's run starts from the first run's model, as the lesson itself does: it waits for that. */
  follow = async (runs) => {
    while (!this.gone) {
      const news = L.changed(runs.flatMap((each) => each.ids));
      const found = [];
      for (const each of runs) {
        const { runs: states, error, lost } = await this.ask("progress", { run_ids: each.ids });
        if (error && !lost) return this.setState({ busy: false, error });
        found.push({ ...each, states: states || [] });
      }
      const [first] = found[0].states;
      if (!runs.at(-1).ids.length && first && !isGoing(first)) {
        runs.pop();
        if (first.state === "completed" && !(await this.add(runs, "hacking", { model_id: first.model_id }))) return;
        continue;
      }
      const all = found.flatMap((each) => each.states);
      const busy = all.length === 0 || all.some(isGoing);
      this.setState({ runs: found, busy });
      if (!busy) return;
      await news;
    }
  };
  said = ({ states }) => {
    const failed = states.find((run) => FAILED.includes(run.state));
    if (failed) return failed.message || t("lesson_start_failed");
    if (!states.length) return t("teacher_waiting");
    const done = states.filter((run) => run.state === "completed").length;
    if (done === states.length) return t("teacher_ready");
    const method = t("teacher_making", { n: done, of: states.length });
    const at = states.find((run) => isGoing(run) && run.total_steps);
    return at ? t("status_running", { method, step: L.int(at.step || 0), total: L.int(at.total_steps) }) : method;
  };
  render(_props, { runs, error, busy }) {
    return h(
      "div",
      {},
      busy || runs.length || error ? null : L.button(t("teacher_prepare"), this.begin, "", { id: "teacher-prepare" }),
      busy && !runs.length ? h("p", { class: "soft", role: "status" }, t("lesson_start_wait")) : null,
      h(
        "div",
        { role: "status" },
        runs.map((each) => h("p", {}, `${t(`lesson_${each.lesson}_title`)}: ${this.said(each)}`)),
      ),
      L.notice(error),
      !busy && (error || runs.some(({ states }) => states.some((run) => FAILED.includes(run.state))))
        ? L.button(t("lesson_again"), this.begin, "quiet")
        : null,
    );
  }
}

export class TeacherPage extends Component {
  state = { error: null };
  table = async () => {
    const answer = await L.ask(this.props.server, "quiz_table");
    this.setState({ error: answer.error || null });
    if (!answer.error) L.save("quiz.csv", "text/csv", answer.text);
  };
  plan = (name) => {
    const { lessons, plans, go } = this.props;
    const minutes = (id) => lessons.find((lesson) => lesson.id === id).minutes;
    const quiz = h("li", {}, t("teacher_quiz", { n: 5 }));
    const item = (id) =>
      h(
        "li",
        {},
        L.button(t(`lesson_${id}_title`), () => go(id), "quiet"),
        " ",
        t("lesson_minutes", { n: minutes(id) }),
      );
    return [h("h3", {}, t("teacher_plan", { n: name })), h("ol", {}, quiz, plans[name].map(item), quiz)];
  };
  render({ server, lessons, plans }, { error }) {
    const who = (key) => {
      const named = lessons.filter((lesson) => lesson.who === key).map(({ id }) => t(`lesson_${id}_title`));
      return [h("dt", {}, t(`lesson_who_${key}`)), h("dd", {}, named.join(" · "))];
    };
    return h(
      "div",
      { class: "lesson" },
      h("h2", {}, t("teacher_title")),
      h("h3", {}, t("teacher_before_title")),
      h("p", {}, t("teacher_before")),
      h(Prepared, { server }),
      h("h3", {}, t("teacher_room_title")),
      h("p", {}, t("teacher_room")),
      h("p", {}, t("teacher_projector")),
      Object.keys(plans).map(this.plan),
      h("h3", {}, t("teacher_pupils_title")),
      h("p", {}, t("teacher_pupils")),
      h("dl", { class: "resources" }, WHO.map(who)),
      h("h3", {}, t("quiz_title")),
      h("p", {}, t("teacher_table")),
      L.button(t("teacher_export"), this.table, "", { id: "quiz-export" }),
      L.notice(error),
    );
  }
}
