/* What the token card shows on demand: where in the layers a token arises (base beside tuned), and which tokens of the
   prompt it is owed to. Each is asked for when it is opened, and asked for anew for another token. */
import { decidedIn, LensMap } from "../learn/lens-map.js";
import { h as drawn, show } from "../lib/view.js";
import { h, inUnits, number, percent, t, visible } from "./dom.js";

const MAP_POSITIONS = 8;
const MOST_GAP = 0.05; // of integrated gradients, as attribution.py aims at
const METHODS = ["gradient_x_input", "integrated_gradients", "attention_rollout"];

/** What the server is asked about: the token at `index` of a lane, with the answer's tokens before it. */
export const questionOf = (lane, trace, shown, index) => {
  const models = trace.meta.models;
  const own = models[lane.info.model];
  const other = models[1 - lane.info.model];
  return {
    model_id: own.id,
    beside: other ? other.id : own.id.startsWith("run-") ? "base" : "",
    prompt: trace.meta.prompt,
    prefix_ids: shown.slice(0, index).map((token) => token.i),
    token: shown[index].i,
  };
};

/** Shades from −1 to 1 of scores, whole at the largest; a first token that only anchors attention does not count. */
export const shades = (tokens) => {
  const most = Math.max(1e-12, ...tokens.slice(1).map((token) => Math.abs(token.score)));
  return tokens.map((token) => Math.max(-1, Math.min(1, token.score / most)));
};

const cell = (model, names, layer) => {
  const [id, p] = model.rows[layer].at(-1)[0];
  const isDecided = layer + 1 >= model.decided;
  return [
    h(
      "td",
      { class: isDecided ? "decided" : "", style: `--p:${p.toFixed(3)}` },
      h("code", {}, visible(names[id] ?? "")),
    ),
    h("td", { class: "n" }, inUnits(percent(p), "%")),
  ];
};

const table = ({ models, names, token }) => {
  const layers = Math.max(...models.map((model) => model.layers));
  const heads = models.map((model) => h("th", { colspan: 2, title: model.title }, model.title));
  const row = (at) => {
    const followed = models[0].followed?.[at];
    const shown = models.map((model) => (at < model.layers ? cell(model, names, at) : h("td", { colspan: 2 })));
    return h(
      "tr",
      {},
      h("th", { class: "n" }, number(at + 1)),
      shown,
      h("td", { class: "n" }, followed ? inUnits(percent(followed[0]), "%") : ""),
    );
  };
  const rows = Array.from({ length: layers }, (_, at) => row(layers - 1 - at)); // the answer first
  const said = h("th", { class: "n" }, h("code", {}, visible(names[token] ?? "")));
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, t("lens_layer")), heads, said)), h("tbody", {}, rows));
};

const scored = (found) => {
  const shade = shades(found.tokens);
  const one = (token, at) =>
    h(
      "span",
      {
        class: shade[at] < 0 ? "against" : "for",
        style: `--shade:${Math.abs(shade[at]).toFixed(3)}`,
        title: `${visible(token.text)} ${number(token.score, 3)}`,
      },
      token.text,
    );
  const best = found.tokens.slice(1).reduce((a, b) => (Math.abs(b.score) > Math.abs(a.score) ? b : a), found.tokens[0]);
  const about = [t("attribute_most", { token: visible(best.text), score: number(best.score, 2) })];
  if (found.total !== null)
    about.push(
      t("attribute_sum", { total: number(found.total, 2), gap: percent(found.gap), parts: number(found.parts) }),
    );
  if (found.gap > MOST_GAP) about.push(t("attribute_gap"));
  return [h("p", { class: "about" }, about.join(" ")), h("p", { class: "scored" }, found.tokens.map(one))];
};

const failed = (error) => h("p", { class: "about", role: "alert" }, `${error.message} ${error.hint || ""}`);

/** The fold of the card. `ask(name, question)` calls the server; `changed()` is told when it takes another size. */
export const inside = (question, ask, changed) => {
  const seen = h("div", { class: "lens" });
  const scores = h("div", { class: "scores" });
  /** @type {any} */
  const method = h(
    "select",
    { "aria-label": t("attribute_method"), onchange: () => attribute() },
    METHODS.map((name) => h("option", { value: name }, t("attribute_" + name))),
  );
  const fill = (place, ...parts) => {
    place.replaceChildren(...parts.flat());
    changed();
  };
  const waiting = () => h("p", { class: "about", role: "status" }, t("lens_computing"));
  const look = async () => {
    fill(seen, waiting());
    const found = await ask("lens", question);
    if (found.error) return fill(seen, failed(found.error));
    const known = { ...found, token: question.token };
    const scroll = h(
      "div",
      { class: "lens-table", tabindex: 0, role: "group", "aria-label": t("lens_table") },
      table(known),
    );
    const about = [h("p", {}, decidedIn(found)), h("p", { class: "about" }, t("lens_about"))];
    const map = h(
      "div",
      { class: "map" },
      h("button", { type: "button", class: "btn quiet", onclick: () => spread(map) }, t("lens_map")),
    );
    fill(seen, about, scroll, map, h("h5", {}, t("attribute_title")), method, scores);
  };
  /* The positions before it too: as much again as a step for each, so only when asked for. */
  const spread = async (map) => {
    fill(map, waiting());
    const found = await ask("lens", { ...question, window: MAP_POSITIONS, top: 3 });
    if (found.error) return fill(map, failed(found.error));
    fill(map);
    show(map, drawn(LensMap, { found }));
    changed();
  };
  const attribute = async () => {
    const asked = method.value;
    fill(scores, h("p", { class: "about" }, t("attribute_about_" + asked)), waiting());
    const found = await ask("attribute", { ...question, method: asked });
    if (asked !== method.value) return; // another was chosen meanwhile
    fill(
      scores,
      h("p", { class: "about" }, t("attribute_about_" + asked)),
      found.error ? failed(found.error) : scored(found),
    );
  };
  method.prepend(h("option", { value: "", disabled: true }, t("attribute_choose")));
  method.value = "";
  const fold = h("details", { class: "tried inside" }, h("summary", {}, t("lens_open")), seen);
  fold.addEventListener("toggle", () => fold.open && !seen.firstChild && look());
  return fold;
};
