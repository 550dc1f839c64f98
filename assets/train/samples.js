/* What a model answers to the same prompt as it learns. Knows no server. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, tr } from "../lib/table.js";

/**
 * The samples of one prompt as a box; null where there are none.
 * @param {{samples?: any[], series?: any}} run @param {number} wanted which prompt @param {(n: number) => void} choose
 */
export const samplesBox = (run, wanted, choose) => {
  const samples = run.samples || [];
  if (!samples.length) return null;
  const n = Math.min(wanted, samples.length - 1),
    sample = samples[n],
    evals = run.series?.eval_loss;
  const heldOut = (step) => {
    const i = evals ? evals.step.indexOf(step) : -1;
    return i < 0 ? "" : L.num(evals.value[i]);
  };
  const turn = (by) => choose(n + by);
  return h(
    "section",
    { class: "box" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, t("samples_title")),
      samples.length > 1
        ? h(
            "div",
            { class: "pager" },
            L.button("‹", () => turn(-1), "quiet", {
              "aria-label": t("samples_previous"),
              disabled: n === 0,
              "data-key": "sample-prev",
            }),
            h("span", { class: "soft" }, t("data_of", { n: n + 1, total: samples.length })),
            L.button("›", () => turn(1), "quiet", {
              "aria-label": t("samples_next"),
              disabled: n === samples.length - 1,
              "data-key": "sample-next",
            }),
          )
        : null,
    ),
    h(
      "p",
      { class: "prompt", tabindex: 0, role: "group", "aria-label": t("samples_prompt") },
      L.clip(sample.prompt, 600),
    ),
    sample.temperature
      ? h("p", { class: "soft small" }, t("samples_drawn", { temperature: L.num(sample.temperature) }))
      : null,
    table(
      { class: "samples" },
      [nth(t("plot_step")), th(t("samples_answer")), nth(t("train_held_out"))],
      sample.outputs.map((output) =>
        tr(
          ntd(L.int(output.step)),
          h(
            "td",
            { class: "said" },
            h(
              "div",
              { tabindex: 0, role: "group", "aria-label": `${t("plot_step")} ${output.step}` },
              L.clip(output.text, 900) || "–",
            ),
          ),
          ntd(heldOut(output.step)),
        ),
      ),
      sample.expected
        ? h(
            "tr",
            { class: "expected" },
            h("td", { class: "n soft" }, t("samples_expected")),
            h(
              "td",
              { class: "said" },
              h(
                "div",
                { tabindex: 0, role: "group", "aria-label": t("samples_expected") },
                L.clip(sample.expected, 900),
              ),
            ),
            td(),
          )
        : null,
    ),
  );
};
