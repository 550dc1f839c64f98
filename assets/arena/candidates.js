/* The answers that a lane drew to choose one from, best first, with scores; a click shows another one's tokens. */
import { h, number, t } from "./dom.js";

const MOST_SHOWN = 160; // characters of an answer
const DIGITS = { best_of_n: 3, mbr: 1 };

/** An answer's score as it is told: a share of the votes, a chrF, a mean log-probability.
 * @param {string} strategy @param {number} score @param {string} label what it voted for */
export const scoreText = (strategy, score, label, rewarded = false) =>
  rewarded
    ? t("candidate_reward", { n: number(score, 2) })
    : strategy === "self_consistency"
      ? label
        ? t("candidate_votes", { share: number(100 * score), label })
        : t("candidate_no_vote")
      : t("candidate_" + strategy, { n: number(score, DIGITS[strategy]) });

/** The list, or null where there is nothing to choose from. @param {any} lane of a trace @param {() => void} changed */
export function candidates(lane, changed) {
  const all = lane.several && lane.end ? lane.end.sequences : [];
  if (all.length < 2) return null;
  const item = ([score, reason, , text, label, row], at) =>
    h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "candidate",
          "aria-pressed": String(row === lane.row),
          onclick: () => {
            lane.pick(row);
            changed();
          },
        },
        h(
          "span",
          { class: "score" },
          [
            at ? "" : t("candidate_chosen"),
            scoreText(lane.info.strategy, score, label, Boolean(lane.info.reward_model_id)),
            t("by_" + reason),
          ]
            .filter(Boolean)
            .join(" · "),
        ),
        h("span", { class: "said", dir: "auto" }, text.length > MOST_SHOWN ? text.slice(0, MOST_SHOWN) + "…" : text),
      ),
    );
  return h(
    "details",
    { class: "candidates", open: lane.opened, ontoggle: (event) => (lane.opened = event.currentTarget.open) },
    h("summary", {}, t("candidates", { n: number(all.length) })),
    h("ol", {}, all.map(item)),
  );
}
