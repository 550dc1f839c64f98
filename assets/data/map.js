/* The map of a data set: made by a job, then a cloud of points to look at, search and select from. */
import * as L from "../lib/panel.js";
import { h, t } from "../lib/panel.js";
import { points, unpack } from "../lib/chart/points.js";
import { mapForm, mapProgress } from "./map-form.js";
import { clusterColour, coloursOf, css, emphasised, scaleColour } from "./map-colours.js";

const LISTED = 20;

const unpacked = (answer) => ({
  ...answer,
  places: unpack(answer.places, Uint16Array),
  plane: unpack(answer.plane, Uint16Array),
  cluster: unpack(answer.cluster, Uint8Array),
  density: unpack(answer.density, Uint8Array),
  held_out: unpack(answer.held_out, Uint8Array),
  ...Object.fromEntries(
    ["loss", "ifd", "change"].map((key) => [key, answer[key] && unpack(answer[key], Float32Array)]),
  ),
});

export const mapTool = (page) => {
  const fresh = () => ({
    job: null,
    map: null,
    by: "cluster",
    layout: "places",
    lasso: false,
    chosen: null,
    hovered: -1,
    looked: false, // until then nobody knows whether there is a map already
  });
  let state = /** @type {any} */ (fresh());
  /** @type {Map<number, any>} */
  let texts = new Map();
  /** @type {any} */
  let waiting;

  const maps = L.newest(() => page.ask("list_maps"));
  const look = async () => {
    const id = page.id;
    const answer = await maps();
    if (page.id !== id) return;
    state.error = answer.error;
    if (!answer.error) state.job = answer.find((job) => job.spec.dataset_id === id);
    if (state.job?.ready && state.map?.of !== state.job.job_id) {
      const map = await page.ask("map", { job_id: state.job.job_id });
      if (page.id !== id) return;
      if (map.error) state.error = map.error;
      else state.map = { ...unpacked(map), of: state.job.job_id };
    }
    state.looked = true;
    page.draw();
  };
  page.hearJobs("map", look);
  const act = L.once(async (what, data) => {
    const answer = await page.ask(what, data);
    await look();
    state.error = answer.error || state.error;
    page.draw();
  });

  // ---- making one
  const start = () => {
    const { model_id, ...settings } = state.spec;
    act("map_dataset", { model_id, settings });
  };
  const form = () => {
    const { models, map } = page.choices;
    state.spec = state.spec || { losses: false, after_id: "" };
    if (!models.some(({ id }) => id === state.spec.model_id)) state.spec.model_id = models[0]?.id || map.model_id;
    const set = (key) => (value) => {
      state.spec[key] = value;
      page.draw();
    };
    return mapForm(page, state.spec, set, start);
  };
  // ---- looking at one
  const choose = (indices) => {
    const { map } = state;
    state.listed = null;
    if (!indices?.length) state.chosen = null;
    else {
      const chosen = new Uint8Array(map.records);
      for (const n of indices) chosen[n] = 1;
      state.chosen = { mask: chosen, indices: [...indices].sort((a, b) => a - b) };
      list();
    }
    page.draw();
  };
  const list = async () => {
    const { chosen } = state;
    const answer = await page.ask("texts", { indices: chosen.indices.slice(0, LISTED) });
    if (state.chosen !== chosen) return;
    state.error = answer.error;
    state.listed = answer.texts;
    page.draw();
  };
  const ofCluster = (id) => {
    const found = [];
    state.map.cluster.forEach((cluster, n) => cluster === id && found.push(n));
    return found;
  };
  const hover = (n) => {
    if (n === state.hovered) return;
    state.hovered = n;
    page.draw();
    clearTimeout(waiting);
    if (n < 0 || texts.has(n)) return;
    const known = texts; // of this data set, whichever is open when they come
    waiting = setTimeout(async () => {
      const answer = await page.ask("texts", { indices: [n] });
      if (!answer.error) known.set(n, answer.texts[0]);
      if (state.hovered === n) page.draw();
    }, 80);
  };
  const hits = L.newest((text) => page.ask("search", { text }));
  const search = async (event) => {
    event.preventDefault();
    const { map, query: text = "" } = state;
    if (!text) return choose(null);
    const answer = await hits(text);
    if (state.map !== map) return; // another map is shown by now
    state.error = answer.error;
    state.searched = answer.error ? null : answer.total;
    const found = [];
    if (!answer.error) unpack(answer.found, Uint8Array).forEach((hit, n) => hit && found.push(n));
    choose(found);
  };
  const keep = async () => {
    const answer = await page.make("select_records", { recipe: { method: "chosen", indices: state.chosen.indices } });
    if (!answer?.error) return;
    state.error = answer.error;
    page.draw();
  };
  const record = (each) =>
    h(
      "dl",
      { class: "newest" },
      each.turns.flatMap((turn) => [h("dt", {}, t(`data_role_${turn.role}`)), h("dd", {}, L.clip(turn.content, 280))]),
    );
  const figures = (n) => {
    const { map } = state;
    const { terms } = map.clusters[map.cluster[n]];
    const said = [terms.slice(0, 3).join(", ")];
    if (map.loss && Number.isFinite(map.loss[n])) said.push(t("map_loss_n", { n: L.num(map.loss[n], 2) }));
    if (map.ifd && Number.isFinite(map.ifd[n])) said.push(t("map_ifd_n", { n: L.num(map.ifd[n], 2) }));
    if (map.change && Number.isFinite(map.change[n])) said.push(t("map_change_n", { n: L.num(map.change[n], 2) }));
    if (map.held_out[n]) said.push(t("map_held_out"));
    return said.filter(Boolean).join(" · ");
  };
  const hovered = () => {
    const { hovered: n } = state;
    if (n < 0) return h("p", { class: "soft small" }, t("map_how"));
    const text = texts.get(n);
    return h("div", {}, h("p", { class: "soft small" }, figures(n)), text ? record(text) : null);
  };
  const scale = () => {
    const { by } = state;
    if (by === "cluster" || by === "held_out") return null;
    const steps = [0, 0.25, 0.5, 0.75, 1].map((share) => css(scaleColour(share, page.dark())));
    return h(
      "p",
      { class: "map-scale small soft" },
      t(by === "change" ? "map_better" : "map_low"),
      h("i", { style: `background: linear-gradient(90deg, ${steps.join(", ")})` }),
      t(by === "change" ? "map_worse" : "map_high"),
    );
  };
  const bar = () => {
    const { map } = state;
    const colours = ["cluster", "density", "held_out", "loss", "ifd", "change"].filter((by) => map[by]?.length);
    return h(
      "div",
      { class: "map-bar" },
      L.labelled(
        t("map_colour"),
        L.menu({
          id: "map-colour",
          value: state.by,
          options: colours.map((by) => [by, t(`map_by_${by}`)]),
          onchange: (by) => {
            state.by = by;
            page.draw();
          },
        }),
      ),
      L.choice(
        t("map_layout"),
        [
          ["places", "t-SNE"],
          ["plane", "PCA"],
        ],
        state.layout,
        (layout) => {
          state.layout = layout;
          page.draw();
        },
      ),
      L.choice(
        t("map_drag"),
        [
          ["move", t("map_move")],
          ["lasso", t("map_lasso")],
        ],
        state.lasso ? "lasso" : "move",
        (way) => {
          state.lasso = way === "lasso";
          page.draw();
        },
      ),
      h(
        "form",
        { class: "search", onsubmit: search },
        h("input", {
          class: "entry",
          id: "map-search",
          type: "search",
          placeholder: t("map_search"),
          "aria-label": t("map_search"),
          oninput: (event) => (state.query = event.target.value),
        }),
      ),
    );
  };
  const cloud = () => {
    const { map, chosen, by, layout } = state;
    const dark = page.dark();
    const key = `${map.of} ${by} ${dark}`;
    if (state.painted?.key !== key) state.painted = { key, colours: coloursOf(by, map, dark) };
    const { colours, ranks } = emphasised(state.painted.colours, chosen?.mask || null, state.hovered, dark);
    return points({
      places: map[layout],
      colours,
      ranks,
      label: t("map_label", { n: L.int(map.records), clusters: map.clusters.length }),
      lasso: state.lasso,
      onhover: hover,
      onpick: (n) => choose(n < 0 ? null : ofCluster(map.cluster[n])),
      onlasso: choose,
    });
  };
  const clusterList = () => {
    const { map } = state;
    return h(
      "ul",
      { class: "clusters" },
      map.clusters.map(({ id, size, terms }) =>
        h(
          "li",
          { key: id },
          h(
            "button",
            { type: "button", class: "link", "data-key": `cluster-${id}`, onclick: () => choose(ofCluster(id)) },
            h("i", { class: "swatch", style: `background:${css(clusterColour(id, page.dark()))}` }),
            terms.join(", ") || t("map_no_words"),
          ),
          h("span", { class: "soft n" }, L.int(size)),
        ),
      ),
    );
  };
  const twins = () => {
    const { duplicates, duplicates_total: total } = state.map;
    if (!total) return null;
    const several = [...new Set(duplicates.flatMap(([a, b]) => [a, b]))];
    return h(
      "p",
      { class: "small" },
      t("map_duplicates", { n: total }),
      " ",
      L.button(t("map_show_them"), () => choose(several), "quiet", { id: "map-duplicates" }),
    );
  };
  const chosenBox = () => {
    const { chosen, listed } = state;
    if (!chosen) return state.searched === 0 ? h("p", { class: "soft" }, t("map_found_none")) : null;
    return h(
      "section",
      { class: "chosen" },
      h(
        "div",
        { class: "boxline" },
        h("strong", {}, t("map_chosen", { n: chosen.indices.length })),
        L.button(t("map_keep"), keep, "", { id: "map-keep", disabled: page.making }),
        L.button(t("map_leave"), () => choose(null), "quiet", { id: "map-leave" }),
      ),
      h("p", { class: "soft small" }, t("map_keep_about")),
      h(
        "ol",
        { class: "listed" },
        (listed || []).map((each) =>
          h("li", { key: each.index }, h("span", { class: "soft n" }, L.int(each.row)), record(each)),
        ),
      ),
      chosen.indices.length > LISTED ? h("p", { class: "soft small" }, t("map_first", { n: LISTED })) : null,
    );
  };
  const whole = () => [
    bar(),
    h(
      "div",
      { class: "map-cols" },
      cloud(),
      h("div", { class: "map-side" }, hovered(), scale(), clusterList(), twins()),
    ),
    chosenBox(),
    h(
      "p",
      { class: "soft small" },
      t("map_facts", { model: state.job.model, share: L.percent(state.map.explained) }),
      " ",
      L.button(
        t("map_again"),
        () => {
          state.again = true;
          page.draw();
        },
        "quiet",
        { id: "map-again" },
      ),
    ),
  ];

  const draw = () => {
    const { job, map, error } = state;
    const going = L.ACTIVE.includes(job?.state);
    if (going) state.again = false;
    const ended = ["failed", "stopped"].includes(job?.state);
    return [
      L.notice(error),
      ended
        ? L.notice({ message: job.message, hint: job.hint, kind: job.state === "stopped" ? "info" : "error" })
        : null,
      ended
        ? L.button(t("generate_resume"), () => act("resume_map", { job_id: job.job_id }), "", { id: "map-resume" })
        : null,
      going ? mapProgress(job, () => act("stop_map", { job_id: job.job_id })) : null,
      map && !state.again ? whole() : going || !state.looked ? null : form(),
    ];
  };
  return {
    draw,
    open: look,
    reset: () => {
      state = fresh();
      texts = new Map();
    },
  };
};
