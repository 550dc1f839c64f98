/* A selection of records to learn from, as a new version; and its race against all. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";

const ORDERED = ["length", "perplexity", "ifd"];
const OF_CHATS = ["perplexity", "ifd"];
const METHODS = ["random", "length", "perplexity", "ifd", "k_center", "clusters", "lima"];

export const selectTool = (page) => {
  let state = /** @type {any} */ ({});
  const set = (key) => (value) => {
    state.recipe = { ...state.recipe, [key]: value };
    page.draw();
  };
  const make = async (event) => {
    event.preventDefault();
    const answer = await page.make("select_records", { recipe: state.recipe });
    if (!answer) return;
    state.error = answer.error;
    page.draw();
  };
  const race = async () => {
    state.busy = true;
    page.draw();
    const answer = await page.ask("race_selection");
    state = { ...state, busy: false, error: answer.error };
    page.draw();
    if (answer.error) return;
    L.tell("run-started", answer.run_ids[0]);
    L.openPanel("train");
  };
  const form = () => {
    const { recipe } = state;
    const methods = METHODS.filter((method) => page.task !== "classify" || !OF_CHATS.includes(method));
    return h(
      "form",
      { class: "generate", onsubmit: make },
      h("p", { class: "soft small" }, t("select_about")),
      h(
        "div",
        { class: "map-bar" },
        L.labelled(
          t("select_method"),
          L.menu({
            id: "select-method",
            value: recipe.method,
            options: methods.map((method) => [method, t(`select_${method}`)]),
            onchange: set("method"),
          }),
        ),
        L.labelled(
          t("select_number"),
          L.entry({
            id: "select-number",
            type: "number",
            min: 1,
            value: recipe.number,
            onchange: (value) => set("number")(Number(value)),
          }),
        ),
        ORDERED.includes(recipe.method)
          ? L.labelled(
              t("select_order"),
              L.menu({
                id: "select-order",
                value: recipe.order,
                options: ["high", "middle", "low"].map((order) => [order, t(`select_${order}`)]),
                onchange: set("order"),
              }),
            )
          : null,
      ),
      h("p", { class: "soft small" }, t(`select_about_${recipe.method}`)),
      h(
        "div",
        {},
        h(
          "button",
          { type: "submit", class: "btn strong", id: "select-make", disabled: page.making },
          t("select_make"),
        ),
      ),
    );
  };
  const draw = () => {
    state.recipe = state.recipe || {
      method: "random",
      order: "high",
      number: Math.max(1, Math.min(page.choices.recipe.number, Math.round(page.kept / 2))),
    };
    return [
      L.notice(state.error),
      page.selected
        ? h(
            "section",
            { class: "chosen" },
            h("p", {}, t("select_is")),
            h("p", { class: "soft small" }, t("select_race_about")),
            L.button(t("select_race"), race, "strong", { id: "select-race", disabled: state.busy }),
          )
        : null,
      form(),
    ];
  };
  return { draw, reset: () => (state = {}) };
};
