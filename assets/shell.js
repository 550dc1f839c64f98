/* What stands around the panels: the title line with a live status, the starter model's progress, notices. */
import {
  ask,
  bytes,
  button,
  clip,
  define,
  find,
  h,
  hear,
  int,
  notice,
  openPanel,
  progressBar,
  show,
  t,
  tell,
} from "./lib/panel.js";

const SOURCES = { hub: "huggingface.co", pypi: "PyPI" };
const STARTER = "SmolLM2-135M-Instruct";
const [RARELY, OFTEN, FETCHING] = [15_000, 3000, 700]; // ms between two looks
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
  const line = (each) => h("p", { class: "soft print" }, each.word ? t(each.word) : each);
  const draw = () => show(el, (props.value || []).filter(Boolean).map(line));
  watch("value", draw);
  draw();
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

const setLarge = (on) => {
  document.documentElement.classList.toggle("large-view", on);
  try {
    localStorage.setItem(LARGE, on ? "1" : "0");
  } catch {
    // then it is forgotten with the page
  }
};

/** What the status says of the runs, the evaluation or the model. */
const statusOf = (pulse) => {
  const running = pulse.runs.find((run) => run.state !== "queued");
  const method = running ? clip(running.name, 40) : "";
  // How many steps there are is known once the worker has counted the records.
  if (running && !running.total_steps) return t("status_starting", { method });
  if (running) return t("status_running", { method, step: int(running.step || 0), total: int(running.total_steps) });
  const { done, total } = pulse.evaluation || {};
  if (pulse.evaluation && !total) return t("status_evaluating_starts");
  if (pulse.evaluation) return t("status_evaluating", { done: int(done), total: int(total) });
  if (pulse.runs.length) return t("status_queued", { n: pulse.runs.length });
  if (!pulse.owner) return t(`guest_${pulse.policy}`);
  return pulse.starter.state === "ready" ? t("status_ready", { model: STARTER }) : "";
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

define("header", ({ el, server }) => {
  watchTabs();
  const state = { pulse: null, lost: "", large: remembered() };
  let timer;
  let told = { starter: "", runs: "" };

  const draw = () => {
    const { pulse, large } = state;
    const flip = () => {
      state.large = !large;
      setLarge(state.large);
      draw();
    };
    const status = state.lost || (pulse ? statusOf(pulse) : "");
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
        begun() ? null : button(t("start_here"), () => openPanel("learn"), "quiet start-here", { id: "start-here" }),
        h("span", { class: "who" }, pulse ? whoOf(pulse) : null),
      ),
      stripOf(pulse?.starter, () => ask(server, "retry").then(look)),
    );
  };

  const tellOthers = ({ runs, starter }) => {
    const now = { runs: runs.map((run) => run.run_id + run.state).join(), starter: starter.state };
    const before = told;
    told = now;
    if (now.runs !== before.runs) tell("runs-pulse");
    if (now.starter !== before.starter) tell("starter", starter);
  };

  const look = async () => {
    clearTimeout(timer);
    let wait = RARELY;
    if (document.visibilityState === "visible") {
      const pulse = await ask(server, "pulse");
      state.lost = pulse.error ? pulse.error.message : "";
      if (!pulse.error) {
        state.pulse = pulse;
        if (pulse.starter.state === "fetching") wait = FETCHING;
        else if (pulse.runs.length || pulse.evaluation) wait = OFTEN;
        tellOthers(pulse);
      }
      draw();
    }
    timer = setTimeout(look, wait);
  };

  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());
  hear("runs-changed", look);
  setLarge(state.large);
  draw();
  look();
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
