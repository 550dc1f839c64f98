/* What stands around the panels: the title line with a live status, the starter model's progress, notices. */
import {
  ask,
  bytes,
  button,
  choose,
  clip,
  define,
  find,
  h,
  hear,
  int,
  isRepeated,
  lang,
  languages,
  live,
  notice,
  openPanel,
  progressBar,
  show,
  t,
  tell,
  unparted,
} from "./lib/panel.js";

const SOURCES = { hub: "huggingface.co", pypi: "PyPI" };
const STARTER = "SmolLM2-135M-Instruct";
const LARGE = "llmdemo-large";

// ---- the open panel names the browser's tab
const nameTab = () => {
  const open = find('#panels button[role="tab"][aria-selected="true"]');
  document.title = open ? `${open.textContent.trim()} · ${t("title")}` : t("title");
};

const watchTabs = () => {
  const tabs = find('#panels [role="tablist"]');
  if (!tabs) return setTimeout(watchTabs, 200); // Gradio has not drawn them yet
  // a shared link opens its panel: that panel's scripts are not there before it is opened
  const asked = new URL(location.href).searchParams;
  if (asked.has("lesson")) openPanel("learn");
  else if (asked.has("arena")) openPanel("arena");
  new MutationObserver(nameTab).observe(tabs, { subtree: true, attributeFilter: ["aria-selected"] });
  nameTab();
};

// ---- a notice that a Python handler sets
define("notice", ({ el, props, watch }) => {
  const draw = () => show(el, notice(props.value));
  watch("value", draw);
  draw();
});

// ---- a few lines of small print: texts as they are, or {word: its key}
define("facts", ({ el, props, watch }) => {
  const line = (each) => h("p", { class: "soft print" }, each.word ? t(each.word) : unparted(each));
  const draw = () => show(el, (props.value || []).filter(Boolean).map(line));
  watch("value", draw);
  draw();
});

// ---- a double click starts, makes or sends once
const dropRepeated = (event) => {
  if (!isRepeated(event)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
};
document.addEventListener("click", dropRepeated, true);

// ---- a decimal comma, which a number's field drops where the browser writes points: 0,7 would be 7
const writesPoints = new Intl.NumberFormat().format(0.5).includes(".");
document.addEventListener("keydown", (event) => {
  const field = /** @type {HTMLInputElement} */ (event.target);
  const isWhole = Number.isInteger(Number(field?.step || 1)); // not of "any"
  if (event.key !== "," || !writesPoints || field?.type !== "number" || isWhole) return;
  event.preventDefault();
  document.execCommand("insertText", false, "."); // the only way into such a field that keeps its undo
});

// ---- the large view, for a projector: it stays as it was left
const remembered = () => {
  try {
    return localStorage.getItem(LARGE) === "1";
  } catch {
    return false; // a private window
  }
};
// ---- "Start here" leads a first visitor to the lessons, until the first is begun
const begun = () => {
  try {
    return localStorage.getItem("llmdemo-lessons") !== null;
  } catch {
    return true; // a private window would be asked each time
  }
};

/* The first lesson, which begins at once: a first visitor has nothing to read before there is a result. */
const startHere = () => {
  openPanel("learn");
  tell("first-lesson");
};

const setLarge = (on) => {
  document.documentElement.classList.toggle("large-view", on);
  try {
    localStorage.setItem(LARGE, on ? "1" : "0");
  } catch {
    // then it is forgotten with the page
  }
};

/** What the status says of the runs, the evaluation or the model. */
const statusOf = (now) => {
  const running = now.runs.find((run) => run.state !== "queued");
  const method = running ? clip(running.name, 40) : "";
  // How many steps there are is known once the worker has counted the records.
  if (running && !running.total_steps) return t("status_starting", { method });
  if (running) return t("status_running", { method, step: int(running.step || 0), total: int(running.total_steps) });
  const { done, total, phase, title } = now.evaluation || {};
  if (phase && !total)
    return t("status_evaluating_phase", { what: t(`eval_phase_${phase}`, { title: clip(title, 40) }) });
  if (now.evaluation && !total) return t("status_evaluating_starts");
  if (now.evaluation) return t("status_evaluating", { done: int(done), total: int(total) });
  if (now.runs.length) return t("status_queued", { n: now.runs.length });
  if (!now.owner) return t(`guest_${now.policy}`);
  return now.starter.state === "ready" ? t("status_ready", { model: STARTER }) : "";
};

const whoOf = ({ policy, owner, name }) => {
  if (policy !== "accounts") return null;
  if (!owner) return h("a", { href: "./sign-in" }, t("sign_in"));
  const leave = async () => {
    await fetch("./sign-out", { method: "POST" }).catch(() => {});
    location.reload();
  };
  return button(t("sign_out", { name }), leave, "quiet");
};

/* The page's language follows the browser until one is chosen here. */
const languageMenu = () => {
  const entries = Object.entries(languages);
  if (entries.length < 2) return null;
  const option = ([tag, { name }]) => h("option", { value: tag, lang: tag, selected: tag === lang }, name);
  const pick = (event) => choose(event.target.value);
  return h(
    "select",
    { class: "quiet language", "aria-label": t("language_menu"), onchange: pick },
    entries.map(option),
  );
};

const starterSays = ({ source, done_bytes: done, total_bytes: total }) => {
  if (!source) return t("starter_preparing");
  if (total && done >= total) return t("starter_unpacking");
  return t("starter_fetching", { source: SOURCES[source] || source });
};

const stripOf = (starter, retry) => {
  if (starter?.state === "failed") {
    const said = { message: starter.message || t("starter_failed"), hint: starter.hint };
    return h("div", { class: "strip" }, notice(said), button(t("starter_retry"), retry));
  }
  if (starter?.state !== "fetching") return null;
  const { done_bytes: done, total_bytes: total } = starter;
  return h(
    "div",
    { class: "strip" },
    h(
      "div",
      { class: "stripline" },
      h("span", {}, starterSays(starter)),
      h("span", { class: "n" }, total ? `${bytes(done)} / ${bytes(total)}` : ""),
      h("span", { class: "soft" }, t("starter_meanwhile")),
    ),
    progressBar(total ? done / total : null, t("starter_preparing")),
  );
};

/* The tabs lie over the title line: they are told how much stands below it, as a notice or a progress bar do. */
const tellHeight = (el) => {
  const height = el.offsetHeight - el.querySelector("h1").offsetHeight;
  document.documentElement.style.setProperty("--below-title", `${height}px`);
};

define("header", ({ el, server }) => {
  watchTabs();
  /** `now`: what the app last told of itself. @type {{now: any, lost: boolean, error: any, large: boolean}} */
  const state = { now: null, lost: false, error: null, large: remembered() };

  const draw = () => {
    const { now, large, error } = state;
    const flip = () => {
      state.large = !large;
      setLarge(state.large);
      draw();
    };
    const status = state.lost ? t("connection_lost") : now ? statusOf(now) : "";
    show(
      el,
      h(
        "div",
        { class: "titleline" },
        h("h1", {}, t("title")),
        h("span", { class: "status", role: "status" }, status),
        button(t("large_view"), flip, "quiet large-switch", {
          "aria-pressed": String(large),
          title: t("large_view_help"),
        }),
        languageMenu(),
        begun() ? null : button(t("start_here"), startHere, "quiet start-here", { id: "start-here" }),
        h("span", { class: "who" }, now ? whoOf(now) : null),
      ),
      error ? notice(error) : null,
      stripOf(now?.starter, retry),
    );
  };
  const retry = async () => {
    state.error = (await ask(server, "retry")).error || null;
    draw();
  };

  const runsOf = (now) => (now?.runs || []).map((run) => run.run_id + run.state).join();
  hear("header", (told) => {
    const before = state.now;
    state.now = { ...before, ...told };
    if (before && runsOf(before) !== runsOf(state.now)) tell("runs-pulse");
    if (before && before.finished !== state.now.finished) tell("models-changed");
    if (before?.starter.state !== state.now.starter.state) tell("starter", state.now.starter);
    draw();
  });
  hear("connection", (there) => {
    if (state.lost === !there) return;
    state.lost = !there;
    draw();
  });
  setLarge(state.large);
  draw();
  new ResizeObserver(() => tellHeight(el)).observe(el);
  live();
});

/* ?view=api names Gradio's page of the endpoints, but Gradio fetches that page only when its button is pressed: the
   address is taken back before Gradio reads it, and the button pressed once it is there. */
const openApi = (tries) => {
  /** @type {HTMLElement | null} */
  const link = document.querySelector("footer button.show-api");
  if (document.querySelector(".api-docs")) return;
  if (link && document.querySelector("#panels") && tries % 10 === 0) link.click();
  if (tries) setTimeout(() => openApi(tries - 1), 150);
};
const address = new URL(window.location.href);
if (address.searchParams.get("view") === "api") {
  address.searchParams.delete("view");
  history.replaceState(null, "", address);
  openApi(100);
}
