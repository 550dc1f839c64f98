/* Beside a finished run: other programs ask its model through OpenAI's API, or take it away as GGUF. Lists what is
   served, its commands, figures and keys. */
import {
  ACTIVE,
  ask as call,
  button,
  bytes,
  choice,
  define,
  entry,
  h,
  hear,
  hearJobs,
  int,
  labelled,
  menu,
  newest,
  notice,
  num,
  once,
  progressBar,
  show,
  sure,
  t,
  when,
} from "../lib/panel.js";
import { table, td } from "../lib/table.js";
import { copy } from "../arena/dom.js";
import { makeCircle } from "./circle.js";
import { makeMonitor } from "./monitor.js";

const LANES = ["greedy", "beam4", "top_p0.9", "top_k50", "min_p0.05", "sample"];
const LOOK_MS = 5000;

/** The app's address as this browser knows it. */
const base = () => new URL(".", window.location.href).href.replace(/\/(arena)?$/, "");

/** A name to serve under, from what the run is called. @param {{name?: string, run_id: string}} run */
const servedName = (run) => {
  const plain = (run.name || "").replace(/[^A-Za-z0-9._-]+/g, "-");
  return plain.replace(/^[._-]+|[._-]+$/g, "").slice(0, 48) || run.run_id;
};

const BITS = ["f32", "f16", "q8_0", "q4_0"];

define("serving", ({ el, server, trigger }) => {
  const view = {
    run: null,
    served: [],
    exports: [],
    gguf: false,
    writes: true,
    watched: false,
    adapter: false,
    keys: [],
    made: null,
    error: null,
    lost: null,
    looked: false, // whether it is known what the shown run's model can do, and whether it is served
    open: false,
    how: "curl",
    timer: 0,
    copied: "",
  };
  const form = { name: "", lane: "greedy", key: "", monitor: false, bits: "q8_0" };
  const monitor = makeMonitor(server, () => draw());
  const circles = new Map();
  const circle = (name) => {
    if (!circles.has(name))
      circles.set(
        name,
        makeCircle(server, name, () => draw()),
      );
    return circles.get(name).draw();
  };

  const serving = newest((data) => call(server, "serving_state", data));
  /* An action's error stays until the next action, whatever is looked up meanwhile. */
  const ask = async (beside = false) => {
    const { run } = view;
    const answer = await serving({ base: base(), model_id: run?.model_id || "" });
    if (run === view.run) view.looked = true;
    view.lost = answer.error || null;
    if (!beside) view.error = null;
    if (!answer.error) Object.assign(view, answer);
    follow();
    return !answer.error;
  };
  const act = once(async (name, data) => {
    const answer = await call(server, name, data);
    view.error = answer.error || null;
    if (answer.error) draw();
    else await ask();
    return answer.error ? null : answer;
  });
  const follow = () => {
    clearTimeout(view.timer);
    if (document.visibilityState === "visible" && view.open && view.served.length)
      view.timer = setTimeout(() => {
        ask(true); // who calls a model is no job
        for (const { look } of circles.values()) look();
      }, LOOK_MS);
    draw();
  };
  const serve = (event) => {
    event.preventDefault();
    const lane = view.writes ? form.lane : null;
    return act("serve_model", { model_id: view.run.model_id, name: form.name.trim(), lane });
  };
  const makeKey = async (event) => {
    event.preventDefault();
    const made = await act("create_key", { name: form.key.trim(), monitor: form.monitor });
    if (made) {
      view.made = made;
      Object.assign(form, { key: "", monitor: false });
    }
    draw();
  };
  const copied = async (what, text) => {
    try {
      await copy(text);
      view.copied = what;
    } catch {
      view.error = { message: t("arena_no_clipboard"), hint: "" };
    }
    draw();
  };
  const copier = (what, text) =>
    button(t(view.copied === what ? "serve_copied" : "serve_copy"), () => copied(what, text), "quiet", {
      "data-key": `copy-${what}`,
    });

  const startForm = () =>
    h(
      "form",
      { class: "serveform", onsubmit: serve },
      labelled(
        t("serve_name"),
        entry({
          value: form.name,
          maxlength: 64,
          spellcheck: false,
          autocomplete: "off",
          "data-key": "serve-name",
          onchange: (value) => (form.name = value),
        }),
      ),
      !view.writes
        ? null
        : labelled(
            t("serve_lane"),
            menu({
              options: LANES.map((lane) => [lane, t(`serve_lane_${lane.split(/[0-9]/)[0]}`)]),
              value: form.lane,
              "data-key": "serve-lane",
              onchange: (value) => (form.lane = value),
            }),
          ),
      h("button", { class: "btn strong", type: "submit" }, t("serve_go")),
    );

  const latency = (name, told, factor, unit) =>
    told
      ? h(
          "tr",
          {},
          h("th", { scope: "row" }, t(name)),
          ["p50", "p95", "p99"].map((p) =>
            h("td", { class: "n" }, `${num(told[p] * factor, factor > 1 ? 0 : 2)} ${unit}`),
          ),
        )
      : null;
  const figures = (one) => {
    const { figures: told } = one;
    if (!told) return h("p", { class: "soft print" }, t("serve_unasked"));
    const wrong = (told.outcomes.refused || 0) + (told.outcomes.failed || 0); // who left had an answer
    return h(
      "div",
      {},
      h(
        "p",
        { class: "soft print" },
        t("serve_counts", { n: int(told.requests), tokens: int(told.tokens), wrong: int(wrong) }),
      ),
      table(
        { class: "servefigures" },
        [td(), ["p50", "p95", "p99"].map((p) => h("th", { scope: "col", class: "n" }, p))],
        latency("serve_first", told.first, 1, "s"),
        latency("serve_each", told.each, 1000, "ms"),
      ),
    );
  };
  const commands = (one) =>
    h(
      "details",
      { "data-key": `how-${one.name}` },
      h("summary", {}, t("serve_commands")),
      h("p", { class: "soft print" }, t("serve_commands_key")),
      choice(
        t("serve_commands"),
        [
          ["curl", "curl"],
          ["python", "Python"],
        ],
        view.how,
        (how) => {
          view.how = how;
          draw();
        },
      ),
      h("pre", { class: "command", tabindex: 0 }, one.examples[view.how]),
      copier(one.name + view.how, one.examples[view.how]),
    );
  const row = (one) =>
    h(
      "li",
      { "data-key": one.name },
      h(
        "div",
        { class: "servehead" },
        h("b", {}, one.name),
        h("span", { class: "soft" }, `${one.title}${one.lane.strategy ? ` · ${one.lane.strategy}` : ""}`),
        sure(t("serve_stop"), t("serve_stop_sure"), () => act("unserve_model", { name: one.name }), {
          "aria-label": `${t("serve_stop")}: ${one.name}`,
        }),
      ),
      one.problem
        ? notice({ message: one.problem, hint: "" })
        : [drift(one), figures(one), commands(one), circle(one.name)],
    );

  const keyRow = (key) =>
    h(
      "li",
      { "data-key": key.key_id },
      h(
        "div",
        { class: "servehead" },
        h("span", {}, key.name),
        h(
          "span",
          { class: "soft" },
          t("serve_key_made", { when: when(key.created) }) + (key.monitor ? " · /metrics" : ""),
        ),
        sure(t("serve_revoke"), t("serve_revoke_sure"), () => act("revoke_key", { key_id: key.key_id }), {
          "aria-label": `${t("serve_revoke")}: ${key.name}`,
        }),
      ),
    );
  const keys = () => {
    const open = view.keys.filter((key) => !key.revoked);
    const made = view.made && open.some((key) => key.key_id === view.made.key_id) ? view.made : null;
    return h(
      "div",
      { class: "servekeys" },
      h("h3", {}, t("serve_keys")),
      open.length ? h("ul", {}, open.map(keyRow)) : h("p", { class: "soft print" }, t("serve_no_keys")),
      made
        ? h(
            "div",
            { class: "notice info", role: "status" },
            h("p", {}, t("serve_key_once")),
            h("pre", { class: "command", tabindex: 0 }, made.key),
            copier("key", made.key),
          )
        : null,
      h(
        "form",
        { class: "keyform", onsubmit: makeKey },
        labelled(
          t("serve_key_name"),
          entry({
            value: form.key,
            maxlength: 80,
            autocomplete: "off",
            "data-key": "key-name",
            onchange: (value) => (form.key = value),
          }),
        ),
        h(
          "label",
          { class: "check" },
          h("input", {
            type: "checkbox",
            checked: form.monitor,
            "data-key": "key-monitor",
            onchange: (event) => (form.monitor = event.target.checked),
          }),
          " ",
          t("serve_key_monitor"),
        ),
        h("button", { class: "btn", type: "submit" }, t("serve_key_go")),
      ),
    );
  };

  const drift = (one) => {
    const told = one.figures?.drift;
    if (!told?.alarm_at) return null;
    return notice({ message: t("serve_drift", { then: num(told.reference), now: num(told.window) }), hint: "" });
  };
  const exported = (one) => {
    const kind = one.quantisation;
    if (ACTIVE.includes(one.state))
      return h(
        "li",
        { "data-key": one.export_id },
        h(
          "p",
          { class: "soft print", role: "status" },
          t(one.stage === "measuring" ? "gguf_measuring" : "gguf_going", { kind }),
        ),
        progressBar(one.total ? one.done / one.total : null, t("gguf_title")),
      );
    if (one.state !== "completed")
      return h("li", { "data-key": one.export_id }, notice({ message: one.message, hint: one.hint }));
    const { loss } = one;
    const told = loss && { before: num(loss.before, 3), after: num(loss.after, 3), n: int(loss.records) };
    return h(
      "li",
      { "data-key": one.export_id },
      h(
        "div",
        { class: "servehead" },
        h("b", {}, t("gguf_done", { kind, size: bytes(one.bytes) })),
        told ? h("span", { class: "soft" }, t("gguf_loss", told)) : null,
        button(t("gguf_get"), () => trigger("submit", { export_id: one.export_id }), "quiet"),
      ),
    );
  };
  const takeAway = () =>
    h(
      "details",
      { open: view.gguf, ontoggle: (event) => (view.gguf = event.target.open), "data-key": "gguf" },
      h("summary", {}, t("gguf_title")),
      h("p", { class: "soft print" }, t("gguf_about")),
      h(
        "form",
        { class: "serveform", onsubmit: makeFile },
        choice(
          t("gguf_kind"),
          BITS.map((bits) => [bits, bits]),
          form.bits,
          (bits) => {
            form.bits = bits;
            draw();
          },
        ),
        h("button", { class: "btn", type: "submit" }, t("gguf_go")),
      ),
      view.exports.length ? h("ul", { class: "served" }, view.exports.map(exported)) : null,
      view.adapter
        ? h(
            "div",
            { class: "servehead" },
            h("span", { class: "soft" }, t("adapter_about")),
            button(t("adapter_get"), () => trigger("submit", { adapter: view.run.model_id }), "quiet"),
          )
        : null,
    );
  const makeFile = (event) => {
    event.preventDefault();
    return act("export_gguf", { run_id: view.run.model_id, quantisation: form.bits });
  };

  const draw = () => {
    const { run, served } = view;
    const mine = run && served.some((one) => one.model_id === run.model_id);
    if (!run && !served.length && !view.watched) return show(el);
    const fold = h(
      "details",
      { open: view.open, ontoggle: toggle },
      h("summary", {}, [t("serve_title"), ...(served.length ? [int(served.length)] : [])].join(" · ")),
      h("p", { class: "soft print" }, t("serve_about", { address: `${base()}/v1` })),
      run && view.looked && !mine ? startForm() : null,
      served.length ? h("ul", { class: "served" }, served.map(row)) : null,
      served.length ? keys() : null,
    );
    const away = run && view.looked && view.writes ? takeAway() : null;
    const wrong = notice(view.error || view.lost); // of whichever part, as each may be closed
    show(el, h("section", { class: "box" }, wrong, run || served.length ? fold : null, monitor.draw(), away));
  };
  const toggle = (event) => {
    if (view.open === event.target.open || event.target.parentElement?.parentElement !== el) return;
    view.open = event.target.open;
    follow();
  };

  hearJobs(["export"], () => ask(true), el);
  hear("run-shown", (run) => {
    const done = run && run.state === "completed" && run.model_id ? run : null;
    if (done?.run_id === view.run?.run_id) return;
    Object.assign(view, { run: done, error: null, made: null, exports: [], gguf: false, looked: false });
    if (done) form.name = servedName(done);
    draw();
    ask();
  });
  ask();
});
