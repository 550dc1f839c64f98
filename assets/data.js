/* The data panel: a record as the model will see it, what was found, numbers, the list of data sets.
   Everything from a data set goes through text nodes. Knows no other panel. */
(() => {
  "use strict";
  const L = window.llmdemo;
  if (!L || L.islands["data-report"]) return;
  const { h, s, t } = L;

  L.define("heading", ({ el, props }) => L.show(el, h("h2", {}, t(props.value))));
  L.define("kinds", ({ el, props }) => L.show(el, h("p", { class: "soft kinds" }, t("data_kinds", { size: `${Math.floor(props.value / 2 ** 20)} MB` }))));

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
  const fail = (error) => { state.error = error; draw(); };

  const open = async (id, fresh) => {
    state.error = null;
    if (fresh || !state.sets.some((set) => set.dataset_id === id)) await list();
    const report = await ask("report", { dataset_id: id });
    if (report.error) return fail(report.error);
    Object.assign(state, { id, report, index: 0, total: report.info.kept, code: "", lossOn: report.info.advice === "all" ? state.lossOn : state.lossOn, query: "", found: null });
    state.record = null; draw();
    await turn(0);
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
    keepFocus(parts.main, () => L.show(parts.main, message, titleBox(), recordBox(), findingsBox()));
    keepFocus(parts.side, () => L.show(parts.side, numbersBox(), learnsBox(), setsBox()));
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
      asTokens ? tokens(record) : talk(record),
      !record.tokens && state.view === "tokens" ? h("p", { class: "soft small" }, record.refused || t("data_tokens_wait")) : null,
      h("div", { class: "cap" }, h("span", {}, asTokens ? learnt(record) : ""),
        L.choice(t("data_view"), [["tokens", t("data_as_tokens")], ["talk", t("data_as_talk")]], state.view, (view) => { state.view = view; draw(); })),
      searchLine(),
    ]);
    return box;
  };
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

  const talk = (record) => h("dl", { class: "talk" }, (record.turns || []).map((turnOf) => [
    h("dt", {}, t(`data_role_${turnOf.role}`) === `data_role_${turnOf.role}` ? turnOf.role : t(`data_role_${turnOf.role}`)),
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

  // ---- what was found
  const findingsBox = () => {
    const { problems, kinds, info, total } = state.report, out = info.rows - info.kept;
    const box = h("section", { class: "box findings" });
    if (!kinds.length) { L.show(box, h("h2", {}, t("data_all_kept")), h("p", { class: "soft" }, t("data_problems_none"))); return box; }
    const limit = state.more === state.id ? problems.length : 10;
    const chip = (code, title, n) => h("button", { type: "button", class: "chip", "aria-pressed": String((state.code || "") === code), "data-key": `code-${code}`, onclick: () => filter(code) },
      h("span", {}, title), n === null ? null : h("b", {}, L.int(n)));
    L.show(box,
      h("h2", {}, out > 0 ? t("data_left_out", { n: L.int(out) }) : t("data_all_kept")),
      h("div", { class: "chips", role: "group", "aria-label": t("data_why") }, chip("", t("data_every_kind"), null), kinds.map((kind) => chip(kind.code, kind.title, kind.count))),
      h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", { class: "n" }, t("data_row")), h("th", {}, t("data_why")), h("th", {}, t("data_what")), h("th", {}, t("data_happens")))),
        h("tbody", {}, problems.slice(0, limit).map((problem) => h("tr", {}, h("td", { class: "n" }, L.int(problem.row)), h("td", { class: "why" }, problem.message),
          h("td", { class: "excerpt" }, problem.excerpt || ""), h("td", { class: "happens" }, happens(problem.action))))))),
      h("div", { class: "cap" },
        problems.length > limit ? L.button(t("data_more"), () => { state.more = state.id; draw(); }, "quiet", { "data-key": "more" }) : h("span", {}, total > problems.length ? t("data_first_only", { n: L.int(problems.length) }) : ""),
        h("span", { class: "report-links" }, t("data_report"), L.button("JSON", () => download("json"), "quiet"), L.button("CSV", () => download("csv"), "quiet"))));
    return box;
  };
  const filter = async (code) => {
    const answer = await ask("problems", { dataset_id: state.id, code });
    if (answer.error) return fail(answer.error);
    state.code = code;
    Object.assign(state.report, answer);
    draw();
  };
  const happens = (action) => ({ "left out": t("data_dropped"), "kept, cut": t("data_cut"), kept: t("data_kept") })[action] || action;
  const download = async (kind) => {
    const answer = await ask("findings", { dataset_id: state.id, kind });
    if (answer.error) return fail(answer.error);
    L.save(`${state.id}-report.${kind}`, kind === "csv" ? "text/csv" : "application/json", answer.text);
  };

  // ---- numbers
  const numbersBox = () => {
    const { info, numbers, lengths } = state.report;
    const row = (name, value) => value === null || value === undefined ? null : h("tr", {}, h("td", {}, name), h("td", { class: "n" }, value));
    const tokenRows = info.tokens ? [
      row(t("data_n_tokens"), L.int(info.tokens.total)),
      row(t("data_n_trained"), `${L.int(info.tokens.trained)} (${L.percent(info.tokens.trained / Math.max(1, info.tokens.total))})`),
      row(t("data_n_mean"), L.int(info.tokens.mean)),
      row(t("data_n_longest"), L.int(info.tokens.longest)),
      numbers?.epoch_seconds ? row(t("data_n_epoch"), t("data_n_about", { time: L.duration(numbers.epoch_seconds) })) : null] : null;
    return h("section", { class: "box" }, h("h2", {}, t("data_numbers")), h("table", { class: "facts wide" }, h("tbody", {},
      row(t("data_n_format"), [info.format, info.shape].filter(Boolean).join(" · ")), row(t("data_n_records"), L.int(info.rows)), row(t("data_n_kept"), L.int(info.kept)), tokenRows)),
      lengths?.length ? histogram(lengths) : null);
  };
  const histogram = (bins) => {
    const most = Math.max(...bins.map((bin) => bin.count), 1), width = 268 / bins.length;
    return h("figure", { class: "hist" }, s("svg", { viewBox: "0 0 268 52", role: "img", "aria-label": `${t("data_lengths")}: ${bins[0].from} – ${bins[bins.length - 1].to}` },
      bins.map((bin, i) => s("rect", { x: i * width, width: Math.max(1, width - 1), y: 52 - (50 * bin.count) / most - (bin.count ? 1 : 0), height: (50 * bin.count) / most + (bin.count ? 1 : 0) },
        s("title", {}, `${bin.from}–${bin.to}: ${bin.count}`)))),
      h("figcaption", { class: "cap" }, h("span", {}, L.int(bins[0].from)), h("span", {}, t("data_lengths")), h("span", {}, L.int(bins[bins.length - 1].to))));
  };

  const learnsBox = () => {
    const advice = state.report.advice;
    if (state.report.info.task !== "chat") return null;
    return h("section", { class: "box" }, h("h2", {}, t("data_learns_from")),
      L.choice(t("data_learns_from"), [["response", t("data_response")], ["all", t("data_everything")]], state.lossOn, (value) => { state.lossOn = value; L.tell("loss-on", value); turn(state.index); }),
      h("div", { class: "cap block" }, advice ? t(`data_advice_${advice}`) : "", L.help(t("data_advice_why"), t("data_learns_from"))));
  };

  // ---- the list of data sets
  const setsBox = () => h("section", { class: "box" }, h("h2", {}, t("data_sets")), h("ul", { class: "sets" }, state.sets.map(setLine)));
  const setLine = (set) => {
    const line = h("li", { class: set.dataset_id === state.id ? "on" : "" });
    const plain = () => L.show(line,
      h("button", { type: "button", class: "link", "aria-current": set.dataset_id === state.id ? "true" : null, "data-key": `open-${set.dataset_id}`, onclick: () => open(set.dataset_id) }, set.name),
      h("span", { class: "soft n" }, L.int(set.kept)),
      set.dataset_id === state.id ? h("div", { class: "acts" }, L.button(t("data_rename"), rename, "quiet"), L.sure(t("data_delete"), t("data_delete_sure"), remove)) : null);
    const rename = () => {
      const input = h("input", { class: "entry", value: set.name, maxlength: 120, "aria-label": t("data_rename_to") });
      L.show(line, h("form", { class: "renaming", onsubmit: async (event) => {
        event.preventDefault();
        const answer = await ask("rename", { dataset_id: set.dataset_id, name: input.value });
        if (answer.error) return L.show(line, L.notice(answer.error));
        await list(); if (state.report) state.report.info.name = answer.name; draw(); L.tell("datasets-changed");
      } }, input, h("button", { type: "submit", class: "btn" }, t("data_save"))));
      input.focus(); input.select();
    };
    const remove = async () => {
      const answer = await ask("delete", { dataset_id: set.dataset_id });
      if (answer.error) return fail(answer.error);
      Object.assign(state, { report: null, record: null, id: null });
      await list(); L.tell("datasets-changed");
      if (state.sets.length) open(state.sets[0].dataset_id); else draw();
    };
    plain();
    return line;
  };
})();
