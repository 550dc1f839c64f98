/* Parts of the train form that stand by themselves: what is learned from the data, and a share. No settings. */
import { h, help, menu, percent, t } from "../lib/panel.js";

const LONGEST = { reward_text: 20000 };
/** Most characters of a setting that is a text. @param {string} key */
export const longest = (key) => LONGEST[key] || 120;

/** By which probe of the data a run may go: the newest, none, or one that was named.
   @param {string} value @returns {[string, string][]} */
export const probes = (value) => [
  ["", t("choice_newest_probe")],
  ["none", t("choice_none")],
  .../** @type {[string, string][]} */ (["", "none"].includes(value) ? [] : [[value, value]]),
];

/**
 * What may be learned from this data: its answers, or what a checker says of the model's own; null without a choice.
 * @param {string[]} tasks @param {string} chosen @param {(task: string) => void} choose
 */
export const goalField = (tasks, chosen, choose) =>
  tasks.length < 2
    ? null
    : h(
        "div",
        { class: "setting", "data-key": "task" },
        h("div", { class: "setting-name" }, h("label", { for: "f-task" }, t("f_task")), help(t("h_task"), t("f_task"))),
        h(
          "div",
          { class: "with-unit" },
          menu({
            id: "f-task",
            class: "entry",
            options: tasks.map((task) => [task, t(`task_${task}`)]),
            value: chosen,
            onchange: choose,
          }),
        ),
      );

/**
 * A share as a slider with its percentage.
 * @param {object} attributes @param {number} value @param {number} max @param {(share: number) => void} choose
 */
export const shareControl = (attributes, value, max, choose) =>
  h(
    "span",
    { class: "with-unit" },
    h("input", {
      ...attributes,
      type: "range",
      min: 0,
      max,
      step: 0.05,
      value,
      oninput: (event) => choose(Number(event.target.value)),
    }),
    h("span", { class: "n" }, percent(value)),
  );
