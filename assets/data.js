/* The data panel: a record as the model will see it, what was found, numbers, the list of data sets.
   Everything from a data set goes through text nodes. Knows no other panel. */
(() => {
  "use strict";
  const L = window.llmdemo;
  if (!L || L.islands["data-report"]) return;
  const { h, s, t } = L;

  L.define("heading", ({ el, props }) => L.show(el, h("h2", {}, t(props.value))));
  // What may be uploaded; a file that is too large is refused here, before it is sent.
  L.define("kinds", ({ el, props }) => {
    const most = props.value, size = (bytes) => (bytes >= 2 ** 20 ? `${L.int(bytes / 2 ** 20)} MB` : L.bytes(bytes)), said = h("div", { class: "too-large" });
    L.show(el, h("p", { class: "soft kinds" }, t("data_kinds", { size: size(most) })), said);
    const check = (event, files) => {
      if (!event.target.closest?.("#data-file")) return;
      L.show(said);
      const large = [...(files || [])].find((file) => file.size > most);
      if (!large) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (event.type === "change") event.target.value = "";
      L.show(said, L.notice({ message: t("data_too_large", { name: large.name, size: size(large.size), most: size(most) }), hint: t("data_too_large_hint") }));
    };
    document.addEventListener("change", (event) => check(event, event.target.files), true);
    document.addEventListener("drop", (event) => check(event, event.dataTransfer?.files), true);
  });

  L.define("working", ({ el, props, watch, trigger }) => {
    const draw = () => {
      const work = props.value || {};
      if (!work.name) return L.show(el);
      const share = work.share ?? null;
      L.show(el, h("div", { class: "box" },
        h("div", { class: "stripline" }, h("span", { role: "status" }, t("data_reading", { name: work.name })),
          h("span", { class: "soft n" }, [share === null ? "" : L.percent(share), work.what].filter(Boolean).join(" · ")), L.button(t("data_stop"), () => trigger("click"))),
        h("div", { class: "progress", role: "progressbar", "aria-label": t("data_reading", { name: work.name }), "aria-valuemin": 0, "aria-valuemax": 100,
          "aria-valuenow": share === null ? null : Math.round(share * 100) }, h("i", { class: share === null ? "unsure" : "", style: `width:${share === null ? 30 : share * 100}%` }))));
    };
    watch("value", draw);
    draw();
  });

  // ---- columns that have to be named by hand
  L.define("data-columns", ({ el, props, watch, trigger }) => {
    const draw = () => {
      const asked = props.value || {};
      if (!asked.columns) return L.show(el);
      const chosen = { ...asked.guess };
      let task = asked.roles[asked.task] ? asked.task : "chat";
      const menu = (role) => h("label", { class: "pick" }, h("span", {}, t(`data_col_${role}`)), h("select", { onchange: (event) => { chosen[role] = event.target.value; } },
        h("option", { value: "" }, "–"), asked.columns.map((column) => { const o = h("option", { value: column }, L.clip(column, 60)); o.selected = chosen[role] === column; return o; })));
      const form = () => L.show(el, h("form", { class: "box", onsubmit: (event) => { event.preventDefault(); trigger("submit", { task, columns: Object.fromEntries(asked.roles[task].map((role) => [role, chosen[role] || ""]).filter(([, column]) => column)) }); } },
        h("h2", {}, t("data_columns_of", { name: asked.name })),
        h("div", { class: "mapping" }, h("label", { class: "pick" }, h("span", {}, t("data_kind")), h("select", { onchange: (event) => { task = event.target.value; form(); } }, Object.keys(asked.roles).map((each) => { const o = h("option", { value: each }, t(`data_task_${each}`)); o.selected = each === task; return o; }))),
          asked.roles[task].map(menu), h("button", { type: "submit", class: "btn strong" }, t("data_columns_use")))));
      form();
    };
    watch("value", draw);
    draw();
  });

  // ---- the two halves of the panel share one state
  const state = { sets: [], id: null, report: null, index: 0, total: 0, lossOn: "response", view: "tokens", record: null, query: "", found: null };
  const parts = {};
  const ready = () => parts.main && parts.side;
  const ask = (name, data) => L.ask(parts.server, name, data);

  L.define("data-report", ({ el, props, watch, server, trigger }) => {
    parts.main = el; parts.server = server; parts.trigger = trigger;
    watch("value", () => { if (props.value?.dataset_id) { open(props.value.dataset_id, true); L.tell("datasets-changed"); } });
    if (ready()) begin();
  });
  L.define("data-side", ({ el }) => { parts.side = el; if (ready()) begin(); });

  const begin = async () => {
    Object.assign(state, { ask, fail, draw, open, turn, list, leave, trigger: parts.trigger });
    L.hear("starter", (starter) => { if (starter.state === "ready" && state.id && state.record && !state.record.tokens) open(state.id); });
    await list();
    if (state.sets.length) open(state.sets[0].dataset_id);
    else draw();
  };

  const list = async () => {
    const answer = await ask("data_sets");
    if (answer.error) return fail(answer.error);
    state.sets = answer.sets;
  };
  const leave = async () => {
    Object.assign(state, { report: null, record: null, id: null });
    await list();
    if (state.sets.length) open(state.sets[0].dataset_id); else draw();
  };
  const fail = (error) => { state.error = error; draw(); };

  const open = async (id, fresh) => {
    state.error = null;
    if (fresh || !state.sets.some((set) => set.dataset_id === id)) await list();
    const report = await ask("report", { dataset_id: id });
    if (report.error) return fail(report.error);
    Object.assign(state, { id, report, stats: null, filters: null, index: 0, total: report.info.kept, code: "", query: "", found: null, record: null });
    draw();
    await turn(0);
    const stats = await ask("stats", { dataset_id: id });
    if (state.id === id && !stats.error) { state.stats = stats; draw(); }
  };

  const turn = async (index) => {
    const record = await ask("record", { dataset_id: state.id, index, loss_on: state.lossOn });
    if (record.error) return fail(record.error);
    Object.assign(state, { index, record, error: null });
    draw();
  };

  const draw = () => {
    const message = state.error ? L.notice(state.error) : null;
    if (!state.report) {
      L.show(parts.main, message, message ? null : h("section", { class: "box empty" }, h("h2", {}, t("data_empty_title")), h("p", {}, t("data_empty")),
        L.button(t("data_sample"), () => document.querySelector("#data-sample")?.click(), "strong"), h("p", { class: "soft small" }, t("data_sample_about"))));
      return L.show(parts.side);
    }
    keepFocus(parts.main, () => L.show(parts.main, message, titleBox(), recordBox(), L.findings(state)));
    keepFocus(parts.side, () => L.show(parts.side, L.numbers(state), L.learnsFrom(state), L.dataSets(state)));
  };

  // Redrawing replaces the pressed button: put the focus back on its successor.
  const keepFocus = (root, redraw) => {
    const key = root.contains(document.activeElement) ? document.activeElement.dataset.key || document.activeElement.value : null;
    redraw();
    if (key) [...root.querySelectorAll("[data-key], input[type=radio]")].find((node) => (node.dataset.key || node.value) === key)?.focus();
  };

  const titleBox = () => {
    const info = state.report.info;
    return h("div", { class: "set-title" },
      h("h2", {}, info.name),
      h("span", { class: "soft" }, [info.shape || info.format, t("data_records", { kept: L.int(info.kept), rows: L.int(info.rows) })].filter(Boolean).join(" · ")),
      L.button(t("data_train_on"), () => { L.tell("train-on", state.id); parts.trigger("select", { dataset_id: state.id }); }, "strong", { id: "data-train-on" }));
  };

  // ---- one record
  const recordBox = () => {
    const box = h("section", { class: "box record" });
    if (!state.record) { L.show(box, h("p", { class: "soft", role: "status" }, t("loading"))); return box; }
    const record = state.record;
    const asTokens = state.view === "tokens" && record.tokens;
    const last = (state.found ? state.found.length : state.total) - 1;
    const at = state.found ? state.found.indexOf(state.index) : state.index;
    const go = (place) => turn(state.found ? state.found[place] : place);
    const number = h("input", { type: "number", min: 1, max: last + 1, value: at + 1, class: "page", "aria-label": t("data_goto"), "data-key": "page",
      onchange: (event) => go(Math.max(0, Math.min(last, (+event.target.value || 1) - 1))) });
    fillIn(box, [
      h("div", { class: "boxline" },
        h("h2", {}, t(asTokens ? "data_record" : "data_record_plain", { n: L.int(state.index + 1) })),
        h("div", { class: "pager" },
          L.button("‹", () => go(at - 1), "quiet", { "aria-label": t("data_previous"), disabled: at <= 0, "data-key": "prev" }),
          number, h("span", { class: "soft" }, t("data_of", { n: "", total: L.int(last + 1) }).trim()),
          L.button("›", () => go(at + 1), "quiet", { "aria-label": t("data_next"), disabled: at >= last, "data-key": "next" }))),
      state.editing === record.row ? editor(record) : asTokens ? tokens(record) : talk(record),
      !record.tokens && state.view === "tokens" ? h("p", { class: "soft small" }, record.refused || t("data_tokens_wait")) : null,
      h("div", { class: "cap" }, h("span", {}, record.kind === "classify" ? `${t("data_role_label")}: ${record.turns[1]?.content ?? ""}` : asTokens ? learnt(record) : ""),
        L.choice(t("data_view"), [["tokens", t("data_as_tokens")], ["talk", t("data_as_talk")]], state.view, (view) => { state.view = view; draw(); })),
      h("div", { class: "boxline tools" }, searchLine(), h("span", { class: "acts" }, L.button(t("data_edit"), edit, "quiet", { "data-key": "edit" }), L.sure(t("data_drop_record"), t("data_drop_sure"), () => renew("drop")))),
    ]);
    return box;
  };
  // An edit or a drop makes a new version; runs keep the one they were started with.
  const renew = async (name, more) => {
    const answer = await ask(name, { dataset_id: state.id, place: state.record.place, ...more });
    if (answer.error) return fail(answer.error);
    const index = state.index;
    L.tell("datasets-changed");
    await open(answer.dataset_id, true);
    turn(Math.min(index, state.total - 1));
  };
  const edit = () => { state.editing = state.record.row; draw(); parts.main.querySelector("textarea")?.focus(); };
  const editor = (record) => {
    const areas = record.turns.map((one) => h("textarea", { rows: Math.min(10, 1 + Math.ceil(one.content.length / 90)), value: one.content, "aria-label": one.role }));
    return h("form", { class: "editor", onsubmit: (event) => { event.preventDefault(); state.editing = null; renew("edit", { contents: areas.map((area) => area.value) }); } },
      record.turns.map((one, i) => [h("label", { class: "soft small" }, role(one.role)), areas[i]]),
      h("div", { class: "acts" }, h("button", { type: "submit", class: "btn strong" }, t("data_save")), L.button(t("close"), () => { state.editing = null; draw(); }, "quiet")));
  };
  const role = (name) => (t(`data_role_${name}`) === `data_role_${name}` ? name : t(`data_role_${name}`));
  const fillIn = (box, children) => L.show(box, children);

  const learnt = (record) => {
    const last = [...record.tokens].reverse().find((token) => token.trained);
    const key = last && last.eos ? "data_learns_eos" : "data_learns";
    return t(key, { trained: L.int(record.trained), total: L.int(record.tokens.length) }) + (record.truncated ? " " + t("data_truncated", { n: L.int(record.tokens.length), total: L.int(record.length) }) : "");
  };

  const tokens = (record) => h("div", { class: "tok", tabindex: 0, role: "group", "aria-label": t("data_record", { n: state.index + 1 }) },
    record.tokens.slice(0, 3000).map((token) => {
      const text = token.special ? `‹${token.text.replace(/^<|>$/g, "")}›` : token.text.replace(/\n/g, "↵\n");
      return h("span", { class: `${token.trained ? "tr" : ""} ${token.special ? "sp" : ""}`, title: `${token.position + 1} · ${token.id}` }, text);
    }), record.tokens.length > 3000 ? h("span", { class: "soft" }, " …") : null);

  const talk = (record) => h("dl", { class: "talk", tabindex: 0 }, (record.turns || []).map((turnOf) => [
    h("dt", {}, role(turnOf.role)),
    h("dd", { class: turnOf.role }, L.clip(turnOf.content, 6000))]));

  const searchLine = () => h("form", { class: "searchline", onsubmit: search },
    h("input", { type: "search", class: "entry", value: state.query, placeholder: t("data_search"), "aria-label": t("data_search"), "data-key": "search", maxlength: 200 }),
    state.found ? h("span", { class: "soft small", role: "status" }, state.found.length ? t("data_found", { n: L.int(state.found.length) }) : t("data_none_found")) : null);
  const search = async (event) => {
    event.preventDefault();
    state.query = event.target.querySelector("input").value.trim();
    if (!state.query) { state.found = null; return turn(0); }
    const answer = await ask("search", { dataset_id: state.id, text: state.query });
    if (answer.error) return fail(answer.error);
    state.found = answer.indices.length ? answer.indices : null;
    if (!state.found) { state.found = null; draw(); parts.main.querySelector(".searchline")?.append(h("span", { class: "soft small", role: "status" }, t("data_none_found"))); return; }
    turn(state.found[0]);
  };
})();
