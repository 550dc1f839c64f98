/* What else can be done with the data set that is open: a map, a selection, its labels. One thing at a time. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { labelsTool } from "./labels.js";
import { knowledgeTool } from "./knowledge.js";
import { mapTool } from "./map.js";
import { raceTool } from "./race.js";
import { selectTool } from "./select.js";
import { wordsTool } from "./words.js";

/** Makes a version of the open data set, and answers as the app does; null before what was made last is open, as when a
   button is pressed twice. @param {any} page */
export const makeVersion = async (page, name, data) => {
  if (page.making) return null;
  page.making = true;
  page.draw();
  const answer = await page.ask(name, data);
  page.making = !answer.error;
  if (page.making) L.tell("data-made", answer.dataset_id);
  return answer;
};

L.define("data-tools", ({ el, server }) => {
  const page = {
    id: null,
    task: "",
    kept: 0,
    selected: false, // whether it was selected from another data set
    made: false, // whether a model made it
    choices: null,
    old: false, // whether there may be others
    making: false, // a version that is not open yet
    tool: "map",
    dark: () => document.body.classList.contains("dark"),
    ask: (name, data) => L.ask(server, name, { dataset_id: page.id, ...data }),
    make: (name, data) => makeVersion(page, name, data),
    visible: () => L.visible(el),
    draw: () => draw(),
    hearJobs: (kind, look) => L.hearJobs([kind], () => page.id && page.choices && look(), el),
  };
  const tools = {
    map: mapTool(page),
    select: selectTool(page),
    labels: labelsTool(page),
    words: wordsTool(page),
    known: knowledgeTool(page),
    race: raceTool(page),
  };
  const own = { classify: ["labels", "words"], chat: ["known"] };
  const offered = () => [
    "map",
    "select",
    ...(own[page.task] || []),
    ...(page.made && page.task === "chat" ? ["race"] : []),
  ];

  const draw = () => {
    if (!page.id || !page.choices) return L.show(el, L.notice(page.error));
    const shown = offered().includes(page.tool) ? page.tool : "map";
    const pick = (tool) => {
      page.tool = tool;
      tools[tool].open?.();
      draw();
    };
    const names = offered().map((tool) => /** @type {[string, string]} */ ([tool, t(`tool_${tool}`)]));
    L.show(
      el,
      L.choice(t("tools_title"), names, shown, pick),
      h("div", { class: "tool", key: shown }, tools[shown].draw()),
    );
  };
  const choices = L.newest(() => page.ask("choices"));
  const choose = async () => {
    page.old = false;
    const answer = await choices();
    page.error = answer.error;
    if (!answer.error) page.choices = answer;
    draw();
  };
  const open = async () => {
    for (const tool of Object.values(tools)) tool.reset();
    if (page.choices && !page.old) draw();
    else await choose();
    if (page.id && page.choices && page.visible()) tools[page.tool]?.open?.();
  };
  const take = (data) => {
    if (page.making) {
      page.making = false;
      draw();
    }
    if (!data || page.id === data.id) return;
    Object.assign(page, data);
    if (page.visible()) open();
    else page.stale = true;
  };
  L.hear("data-opened", take);
  /* There is another model to choose; what was decided here with those before stays. */
  const again = () => {
    page.old = true;
    if (page.visible()) (page.choices ? choose : open)();
  };
  L.hear("run-ended", again);
  L.hear("starter", (starter) => starter.state === "ready" && again());
  // a canvas is painted in the colours of its theme: no style sheet paints it anew
  new MutationObserver(() => page.id && page.visible() && draw()).observe(document.body, {
    attributeFilter: ["class"],
  });
  take(L.wanted.data); // this part of the page is made when its fold is opened
  L.whenShown(el, () => {
    if (page.id && (page.stale || !page.choices)) open();
    else if (page.id && page.old) choose();
    page.stale = false;
  });
});
