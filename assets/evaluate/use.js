/* A classifier to try: its probabilities for one text, and which tokens speak for its answer. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

const [FOR, AGAINST] = ["var(--topp)", "var(--topk)"];
const toneOf = (score) =>
  `--tone:${score >= 0 ? FOR : AGAINST};--share:${Math.round(60 * Math.sqrt(Math.abs(score)))}%`;

L.define("evaluate-use", ({ el, server, trigger }) => {
  const use = { models: [], model_id: null, text: "", found: null, error: null, busy: false };
  const read = L.newest(() => L.ask(server, "choices"));
  const load = async () => {
    const choices = await read();
    if (choices.error) return;
    use.models = choices.models.filter((model) => model.ready && model.task === "classify");
    if (!use.models.some((model) => model.id === use.model_id)) {
      use.model_id = use.models[0]?.id || null;
      trigger("select", { model_id: use.model_id });
    }
    document.body.classList.toggle("no-classifier", !use.models.length);
    show();
  };
  const show = () => {
    if (!use.models.length) return L.show(el);
    const area = h("textarea", {
      class: "entry",
      rows: 3,
      value: use.text,
      maxlength: 20000,
      "aria-label": t("eval_use_text"),
      placeholder: t("eval_use_text"),
      oninput: (event) => (use.text = event.target.value),
    });
    const take = (id) => {
      use.model_id = id;
      use.found = null;
      trigger("select", { model_id: id });
      show();
    };
    const shares = use.found?.probabilities.slice(0, 6);
    L.show(
      el,
      h(
        "section",
        { class: "box use" },
        h("h2", {}, t("eval_use")),
        L.menu({
          "aria-label": t("eval_who"),
          value: use.model_id,
          options: use.models.map((model) => [model.id, model.title]),
          onchange: take,
        }),
        area,
        L.button(t("eval_use_do"), run, "strong", { disabled: use.busy, id: "evaluate-classify" }),
        use.error ? L.notice(use.error) : null,
        use.found
          ? [
              h(
                "div",
                { class: "shares" },
                shares.map((each) =>
                  h(
                    "div",
                    {},
                    h("span", {}, each.label),
                    h(
                      "span",
                      { class: "track" },
                      h("i", { style: `width:${Math.max(0.5, 100 * each.probability).toFixed(1)}%` }),
                    ),
                    h("em", {}, L.percent(each.probability)),
                  ),
                ),
              ),
              h(
                "p",
                { class: "tokens-why" },
                use.found.tokens.map((token) =>
                  h(
                    "span",
                    {
                      class: token.special ? "sp" : "",
                      title: L.num(token.score, 2),
                      style: toneOf(token.score),
                    },
                    token.text,
                  ),
                ),
              ),
              h(
                "p",
                { class: "cap block" },
                t("eval_use_why", { label: use.found.label }) + (use.found.truncated ? ` ${t("eval_use_cut")}` : ""),
              ),
            ]
          : null,
      ),
    );
  };
  const run = async () => {
    const { model_id } = use;
    use.busy = true;
    show();
    const answer = await L.ask(server, "classify", { model_id, text: use.text });
    use.busy = false;
    if (model_id === use.model_id)
      Object.assign(use, { error: answer.error || null, found: answer.error ? null : answer });
    show();
  };
  L.hear("run-ended", load);
  L.hear("starter", load);
  L.hear("runs-pulse", load);
  load();
});
