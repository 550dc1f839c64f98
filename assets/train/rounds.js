/* Answers that a run drew to learn from, a round at a time: what was asked, what was answered, what reward each got. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, th, tr } from "../lib/table.js";
import { page, view } from "./state.js";

/**
 * The box of a run, or null where nothing was drawn.
 * @param {{rounds?: {step: number, prompt: string, expected: string,
 *   answers: {text: string, reward: number | null}[], again?: number, prompts?: number}[]}} run
 */
export const roundsBox = ({ rounds: all = [] }) => {
  if (!all.length) return null;
  const last = all.length - 1;
  const n = Math.min(view.round ?? last, last);
  const round = all[n];
  const turn = (by) => {
    view.round = n + by >= last ? null : n + by;
    page.draw();
  };
  const step = (by, sign, word) =>
    L.button(sign, () => turn(by), "quiet", {
      "aria-label": t(word),
      disabled: n + by < 0 || n + by > last,
      "data-key": word,
    });
  return h(
    "section",
    { class: "box", id: "run-rounds" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("rounds_title")),
      h(
        "div",
        { class: "pager" },
        step(-1, "‹", "rounds_previous"),
        h("span", { class: "soft" }, t("rounds_step", { step: L.int(round.step) })),
        step(1, "›", "rounds_next"),
      ),
    ),
    round.again
      ? h("p", { class: "cap" }, t("rounds_again", { n: L.int(round.again), of: L.int(round.prompts || 0) }))
      : null,
    h(
      "p",
      { class: "prompt", tabindex: 0, role: "group", "aria-label": t("samples_prompt") },
      L.clip(round.prompt, 600),
    ),
    table(
      { class: "samples" },
      [nth(t("metric_reward")), th(t("samples_answer"))],
      round.answers.map((answer) =>
        tr(
          ntd(answer.reward === null ? "–" : L.num(answer.reward, 2)),
          h(
            "td",
            { class: "said" },
            h(
              "div",
              { tabindex: 0, role: "group", "aria-label": t("samples_answer") },
              L.clip(answer.text, 400) || "–",
            ),
          ),
        ),
      ),
      round.expected
        ? h(
            "tr",
            { class: "expected" },
            h("td", { class: "n soft" }, t("rounds_expected")),
            h(
              "td",
              { class: "said" },
              h("div", { tabindex: 0, role: "group", "aria-label": t("rounds_expected") }, L.clip(round.expected, 400)),
            ),
          )
        : null,
    ),
  );
};
