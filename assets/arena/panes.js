/* The lanes' cards, model by model. Knows no run. */
import { h } from "./dom.js";
import { LaneCard, laneTitle } from "./lanes.js";
import { kindOf } from "./presets.js";
import { differences } from "./trace.js";

/**
 * Makes a card of each lane and puts them into `element`, each model's under its name.
 * @returns {Map<string, any>} the cards by their lanes' ids
 */
export const layPanes = (element, trace, hooks, colour) => {
  const cards = new Map();
  const parts = [];
  const { lanes, meta } = trace;
  const two = meta.models.length > 1;
  meta.models.forEach((model, index) => {
    const facts = two
      ? h("small", {}, [kindOf(model.id), model.dtype, model.device].filter(Boolean).join(" · "))
      : null;
    parts.push(h("h2", { class: two ? "modelname" : "unseen" }, model.title, facts));
    for (const lane of lanes.values()) {
      if (lane.info.model !== index) continue;
      const card = new LaneCard(lane, trace, hooks);
      card.colour(colour);
      cards.set(lane.info.id, card);
      parts.push(card.element);
    }
  });
  element.replaceChildren(...parts);
  element.classList.toggle("grid", Boolean(trace.grid));
  element.style.setProperty("--columns", String(trace.grid || 4));
  element.dataset.count = String(Array.from(lanes.values()).filter((lane) => lane.info.model === 0).length);
  return cards;
};

/** Marks the tokens in which two models differ, lane by lane. @param {Map<string, any>} cards */
export const markDifferences = (cards) => {
  for (const card of cards.values()) {
    const other = card.lane.info.model === 0 && cards.get("1:" + card.lane.info.name);
    if (!other) continue;
    const [here, there] = differences(
      card.shown.map((token) => token.s),
      other.shown.map((token) => token.s),
    );
    card.mark(here);
    other.mark(there);
  }
};

/** A lane's whole text. @param {any} lane @returns {string} */
export const textOf = (lane) =>
  lane.end
    ? lane.end.text
    : lane
        .view(lane.length)
        .map((token) => token.s)
        .join("");

/** The other lanes' answers that differ from `lane`'s: what it may be better than. */
export const othersThan = (lane, trace) => {
  const { models } = trace.meta;
  const own = textOf(lane).trim();
  return Array.from(trace.lanes.values())
    .filter((other) => other !== lane)
    .map((other) => ({
      title: laneTitle(other.info) + (models.length > 1 ? " · " + models[other.info.model].title : ""),
      strategy: other.info.strategy,
      text: textOf(other).trim(),
    }))
    .filter((other) => other.text && other.text !== own);
};
