/* The Learn panel: lessons in the book's order (predict, see, why), a quiz before and after, a page for teachers, and
   resources. What there is stands in lessons.json; progress stays in the browser. A lesson's link is ?lesson=<id>. */
import * as L from "../lib/panel.js";
import { button, define, h, notice, show, t } from "../lib/panel.js";
import { kept, linkOf, nextOf, progress, score, shuffled } from "./progress.js";
import { TeacherPage } from "./teacher-page.js";
import { VIEWS } from "./views.js";

const PAGES = ["path", "quiz", "teacher", "resources"];

define("lessons", async ({ el, server }) => {
  const asked = new URL(location.href).searchParams.get("lesson");
  const file = await fetch(new URL("./lessons.json", import.meta.url));
  const { lessons, quiz, plans, resources } = await file.json();
  const past = progress();
  const known = (id) => lessons.some((lesson) => lesson.id === id);
  const first = [asked, past.last].find(known) || lessons[0].id;
  const state = {
    page: "path",
    id: first,
    chosen: {},
    answers: Array(quiz.right.length).fill(null),
    asked: 0, // how often "Start here" was pressed
    again: false, // the quiz after the lessons was begun
    error: null,
  };

  const remember = () => kept(past);
  const go = (id) => {
    Object.assign(state, { page: "path", id, error: null });
    past.last = id;
    remember();
    history.replaceState(null, "", linkOf(location.href, id));
    draw();
    inSight();
    L.find("#lessons .lesson h2")?.focus();
  };
  /* On a phone the lessons stand in one line: the open one is brought into sight. */
  const inSight = () => {
    const link = L.find("#lessons .lessons a[aria-current]");
    const line = link?.closest("ol");
    if (line) line.scrollLeft += link.getBoundingClientRect().left - line.getBoundingClientRect().left - 24;
  };
  const done = (id) => {
    if (!past.done.includes(id)) past.done.push(id);
    past.last = id;
    remember();
    draw();
  };

  // ---- one lesson
  const question = ({ id, right }) => {
    const chosen = state.chosen[id];
    const pick = (n) => {
      state.chosen[id] = n;
      done(id);
    };
    const option = (key, n) =>
      h(
        "label",
        { class: chosen !== undefined && n === right ? "right" : "" },
        h("input", { type: "radio", name: `lesson-${id}`, checked: chosen === n, onchange: () => pick(n) }),
        h("span", {}, t(`lesson_${id}_${key}`)),
      );
    const shown = shuffled(["a", "b", "c"], id).map(([key, n]) => option(key, n));
    return h("fieldset", { class: "predict" }, h("legend", {}, t(`lesson_${id}_ask`)), shown);
  };
  const open = (lesson) => {
    state.error = L.openPanel(lesson.panel) ? null : { message: t("lesson_no_panel"), kind: "info" };
    draw();
  };
  const seen = (lesson) => {
    const View = VIEWS[lesson.view];
    const verdict = t(state.chosen[lesson.id] === lesson.right ? "lesson_right" : "lesson_wrong");
    return [
      h("p", { class: "why" }, h("b", {}, verdict), L.gap(verdict), t(`lesson_${lesson.id}_why`)),
      View ? h(View, { server, open: go, key: lesson.id }) : null,
      lesson.panel ? h("h3", {}, t("lesson_further")) : null,
      lesson.panel ? h("p", {}, t(`lesson_${lesson.id}_see`)) : null,
      lesson.panel ? button(t(`lesson_open_${lesson.panel}`), () => open(lesson), "", { id: "lesson-open" }) : null,
    ];
  };
  const lessonOf = (lesson) => {
    const next = nextOf(lessons, lesson.id);
    const isStart = lesson.view === "start";
    return h(
      "article",
      { class: "lesson", "data-key": lesson.id },
      h("h2", { tabindex: -1 }, t(`lesson_${lesson.id}_title`)),
      h(
        "p",
        { class: "soft" },
        t("lesson_minutes", { n: lesson.minutes }),
        lesson.needs ? ` · ${t(`lesson_needs_${lesson.needs}`)}` : "",
        " · ",
        h("a", { href: lesson.source, target: "_blank", rel: "noreferrer" }, t("lesson_source")),
      ),
      isStart ? h("p", {}, t("lesson_start_why")) : question(lesson),
      isStart
        ? h(VIEWS.start, { server, done: () => done("start"), now: state.asked > 0, key: `start ${state.asked}` })
        : null,
      !isStart && state.chosen[lesson.id] !== undefined ? seen(lesson) : null,
      notice(state.error),
      next
        ? button(t("lesson_next", { title: t(`lesson_${next}_title`) }), () => go(next), "quiet", { id: "lesson-next" })
        : null,
    );
  };
  const pathPage = () => {
    const item = (lesson) =>
      h(
        "li",
        { "data-key": lesson.id },
        h(
          "a",
          {
            href: linkOf(location.href, lesson.id),
            class: past.done.includes(lesson.id) ? "done" : "",
            "aria-current": lesson.id === state.id ? "step" : null,
            onclick: (event) => {
              event.preventDefault();
              go(lesson.id);
            },
          },
          t(`lesson_${lesson.id}_title`),
        ),
      );
    const current = lessons.find((lesson) => lesson.id === state.id);
    return h("div", { class: "path" }, h("ol", { class: "lessons" }, lessons.map(item)), lessonOf(current));
  };

  // ---- the quiz
  const send = async () => {
    const phase = past.before ? "after" : "before";
    const answer = await L.ask(server, "quiz_submit", { code: past.code, phase, answers: state.answers });
    state.error = answer.error || null;
    if (!answer.error) {
      past[phase] = score(state.answers, quiz.right);
      state.answers.fill(null);
      remember();
    }
    draw();
    if (!answer.error) headed("quiz");
  };
  /** Shows the page of the quiz from its top. */
  const headed = (key) => {
    const heading = L.find(`#lessons .lesson h2[data-key="${key}"]`);
    heading?.scrollIntoView({ block: "center" });
    heading?.focus();
  };
  const begin = () => {
    state.again = true;
    draw();
    headed("quiz");
  };
  const quizPage = () => {
    const item = (n) => {
      const option = (key, at) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: `quiz-${n}`,
            checked: state.answers[n] === at,
            onchange: () => {
              state.answers[n] = at;
              draw();
            },
          }),
          h("span", {}, t(`quiz_${n + 1}_${key}`)),
        );
      return h(
        "li",
        {},
        h(
          "fieldset",
          { class: "predict" },
          h("legend", {}, `${n + 1}. `, t(`quiz_${n + 1}_ask`)),
          shuffled(["a", "b", "c"], `${past.code} ${n}`).map(([key, at]) => option(key, at)),
        ),
      );
    };
    const of = quiz.right.length;
    const heading = h("h2", { tabindex: -1, "data-key": "quiz" }, t("quiz_title"));
    const right = (place, n) =>
      h("li", {}, h("b", {}, t(`quiz_${n + 1}_ask`)), " ", t(`quiz_${n + 1}_${["a", "b", "c"][place]}`));
    if (past.after)
      return h(
        "div",
        { class: "lesson" },
        heading,
        h("p", {}, t("quiz_both", { before: past.before?.right ?? 0, after: past.after.right, of })),
        h("h3", {}, t("quiz_right")),
        h("ol", {}, quiz.right.map(right)),
      );
    if (past.before && !state.again)
      return h(
        "div",
        { class: "lesson" },
        heading,
        h("p", { role: "status" }, t("quiz_sent")),
        button(t("quiz_to_lessons"), () => go(state.id), "strong"),
        button(t("quiz_begin_again"), begin, "quiet", { id: "quiz-again" }),
      );
    return h(
      "div",
      { class: "lesson" },
      heading,
      h("p", {}, t(past.before ? "quiz_again" : "quiz_about")),
      h(
        "ol",
        { class: "quiz" },
        quiz.right.map((_, n) => item(n)),
      ),
      notice(state.error),
      button(t("quiz_send"), send, "strong", { id: "quiz-send" }),
    );
  };

  // ---- resources
  const resourcesPage = () => {
    const place = (each) =>
      each.lesson
        ? button(t(`lesson_${each.lesson}_title`), () => go(each.lesson), "quiet")
        : button(t(`lesson_open_${each.panel}`), () => open(each), "quiet");
    const item = (each) => [
      h("dt", {}, h("a", { href: each.link, target: "_blank", rel: "noreferrer" }, t(`resource_${each.id}_title`))),
      h("dd", {}, t(`resource_${each.id}_about`), " ", place(each)),
    ];
    return h(
      "div",
      { class: "lesson" },
      h("h2", {}, t("resources_title")),
      h("dl", { class: "resources" }, resources.map(item)),
      notice(state.error),
    );
  };

  const draw = () => {
    const pages = {
      path: pathPage,
      quiz: quizPage,
      teacher: () => h(TeacherPage, { server, lessons, plans, go }),
      resources: resourcesPage,
    };
    const turn = (page) => {
      Object.assign(state, { page, error: null });
      draw();
      inSight();
    };
    /** @type {[string, string][]} */
    const options = PAGES.map((page) => [page, t(`learn_page_${page}`)]);
    const count = t("lesson_progress", { n: past.done.length, of: lessons.length });
    show(
      el,
      h(
        "div",
        { class: "learn-path" },
        h(
          "div",
          { class: "learn-head" },
          L.choice(t("tab_learn"), options, state.page, turn),
          h("span", { class: "soft" }, count),
        ),
        pages[state.page](),
      ),
    );
  };
  draw();
  inSight();
  // "Start here" was pressed: the first lesson is shown, and it begins by itself.
  L.hear("first-lesson", () => {
    state.asked += 1;
    go("start");
  });
});
