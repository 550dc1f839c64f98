/* A thumb up or down for an answer, which a second press takes back. Knows no lane but its id. */
import * as L from "../lib/api.js";
import { h, svg, t } from "./dom.js";

const UP = "M5 7v6H2V7zM5 12.5h6.3c.6 0 1.1-.4 1.2-1l.9-4c.2-.8-.4-1.5-1.2-1.5H9l.5-2.6C9.7 2.6 9 2 8.3 2L5 7";

/** Sends what the visitor finds of a lane of the run; gives what is kept then. `say` tells what is wrong. */
export const rating = (server, run, say) => async (lane, thumb) => {
  const answer = await L.ask(server, "thumb", { run_id: run, lane, thumb });
  if (answer.error) say(t("thumb_failed", { why: answer.error.message }));
  return answer.error ? null : answer.thumb;
};

/**
 * The two buttons of a lane.
 * @param {string} title the lane's
 * @param {(thumb: string) => Promise<string | null>} rate
 */
export const thumbs = (title, rate) => {
  let now = "";
  const press = async (thumb) => {
    const kept = await rate(thumb === now ? "" : thumb);
    if (kept === null) return;
    now = kept;
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.thumb === now));
  };
  const buttons = ["up", "down"].map((thumb) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet thumb",
        "data-thumb": thumb,
        "aria-pressed": "false",
        "aria-label": t("thumb_" + thumb),
        title: t("thumb_" + thumb),
        onclick: () => press(thumb),
      },
      svg("svg", { width: 15, height: 15, viewBox: "0 0 15 15", "aria-hidden": "true" }, svg("path", { d: UP })),
    ),
  );
  return h("span", { class: "thumbs", role: "group", "aria-label": t("thumbs_of", { lane: title }) }, buttons);
};
