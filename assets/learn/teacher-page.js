/* The teacher's page: runs that are prepared once and kept, plans of a lesson, what a class can do at once, the
   quiz's answers. Knows no view of a lesson. */
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";

const WHO = ["own", "shared", "teacher"];
const RACES = ["facts", "instructions", "hacking"];

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
    for (const kind of RACES) {
      const race = await this.ask("race", { kind });
      if (race.error) return this.setState({ busy: false, error: race.error });
      runs.push({ lesson: kind, ids: race.runs.map((run) => run.run_id) });
    }
    this.follow(runs);
  };
  follow = async (runs) => {
    while (!this.gone) {
      const news = L.changed(runs.flatMap((each) => each.ids));
      const found = [];
      for (const each of runs) {
        const { runs: states, error, lost } = await this.ask("progress", { run_ids: each.ids });
        if (error && !lost) return this.setState({ busy: false, error });
        found.push({ ...each, states: states || [] });
      }
      const all = found.flatMap((each) => each.states);
      const isGoing = (run) => !["completed", "failed", "stopped"].includes(run.state);
      const busy = all.length === 0 || all.some(isGoing);
      this.setState({ runs: found, busy });
      if (!busy) return;
      await news;
    }
  };
  said = ({ states }) => {
    const failed = states.find((run) => ["failed", "stopped"].includes(run.state));
    if (failed) return failed.message || t("lesson_start_failed");
    const done = states.filter((run) => run.state === "completed").length;
    return done === states.length ? t("teacher_ready") : t("teacher_making", { n: done, of: states.length });
  };
  render(_props, { runs, error, busy }) {
    return h(
      "div",
      {},
      busy || runs.length ? null : L.button(t("teacher_prepare"), this.begin, "", { id: "teacher-prepare" }),
      busy && !runs.length ? h("p", { class: "soft", role: "status" }, t("lesson_start_wait")) : null,
      h(
        "div",
        { role: "status" },
        runs.map((each) => h("p", {}, `${t(`lesson_${each.lesson}_title`)}: ${this.said(each)}`)),
      ),
      L.notice(error),
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
