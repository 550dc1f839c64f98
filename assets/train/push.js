/* Beside a finished run: its model goes to the Hugging Face hub. The token is sent once and kept nowhere. */
import {
  ask as call,
  button,
  bytes,
  choice,
  define,
  entry,
  h,
  hear,
  hearJobs,
  labelled,
  lang,
  notice,
  progressBar,
  show,
  t,
  tell,
} from "../lib/panel.js";
import { onServers } from "./servers.js";

const NAME_LENGTH = 60;
const AGAIN_MS = 4000;

/** A name for a repository, from what the run is called. @param {{name?: string, run_id: string}} run */
const repoName = (run) => {
  const plain = (run.name || "").toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return plain.slice(0, NAME_LENGTH).replace(/^-+|-+$/g, "") || run.run_id;
};

define("push", ({ el, server, trigger }) => {
  const view = {
    run: null,
    known: null,
    how: "vllm",
    away: false,
    state: { state: "none" },
    facts: {},
    open: false,
    error: null, // of what was asked for last, until something else is
    lost: null,
    looked: false, // whether it is known what stands, and which licence the base has
  };
  const form = { repo: "", token: "", licence: "", private: true, space: false };

  const ask = async (name, data) => {
    const { run } = view;
    const answer = await call(server, name, { run_id: run?.run_id, ...data });
    if (run !== view.run) return null; // another run is shown by now
    view.error = answer.error || null;
    return answer.error ? null : answer;
  };
  const start = async (event) => {
    event.preventDefault();
    const asked = { ...form, language: lang, repo: form.repo.trim(), licence: form.licence.trim() };
    form.token = "";
    const state = await ask("push_start", asked);
    if (state) view.state = state;
    draw();
  };
  const look = async () => {
    const { run } = view;
    const state = await call(server, "push_state", { run_id: run?.run_id });
    if (run !== view.run) return;
    view.lost = state.error || null;
    if (state.lost) setTimeout(() => run === view.run && look(), AGAIN_MS);
    if (state.error) return draw();
    const { licence: known, token: given, lasts, ...rest } = state;
    if (!view.looked) form.licence ||= known || ""; // later it is as somebody left it
    Object.assign(view, { looked: true, state: rest, facts: { given, lasts } });
    draw();
  };

  const field = (key, word, more = {}) => {
    const type = more.type || "text";
    const set = (value) => {
      form[key] = value;
      draw();
    };
    const attributes = { maxlength: 200, autocomplete: "off", spellcheck: false, "data-key": `push-${key}`, ...more };
    return labelled(t(word), entry({ type, value: form[key], onchange: set, ...attributes }));
  };
  const fields = () =>
    h(
      "form",
      { class: "pushform", onsubmit: start },
      choice(
        t("push_what"),
        [
          ["model", t("push_model")],
          ["space", t("push_space")],
        ],
        form.space ? "space" : "model",
        (what) => {
          form.space = what === "space";
          draw();
        },
      ),
      form.space ? h("p", { class: "soft print" }, t("push_space_about")) : null,
      field("repo", "push_repo"),
      field("token", "push_token", { type: "password", maxlength: 512 }),
      h("p", { class: "soft print" }, t("push_token_about")),
      field("licence", "push_licence", { maxlength: 40 }),
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          checked: form.private,
          "data-key": "push-private",
          onchange: (event) => (form.private = event.target.checked),
        }),
        " ",
        t("push_private"),
      ),
      h("button", { class: "btn strong", type: "submit", disabled: !view.looked }, t("push_go")),
    );

  const progress = ({ sent, total, file }) => {
    const said = total ? t("push_sending", { sent: bytes(sent), total: bytes(total), file }) : t("push_begins");
    const stop = async () => {
      await ask("push_stop");
      look();
    };
    return h(
      "div",
      {},
      h("p", { class: "soft print", role: "status" }, said),
      progressBar(total ? sent / total : null, t("push_title")),
      button(t("push_stop"), stop, "quiet"),
    );
  };
  const about = (state) => {
    if (state.state === "going") return progress(state);
    const done = { kind: "info", message: t("push_done"), hint: state.url };
    return [
      state.state === "done" ? notice(done) : state.message ? notice(state) : null,
      view.facts.given ? h("p", { class: "soft print" }, t("push_given")) : null,
      fields(),
    ];
  };
  const open = async (event) => {
    if (view.away === event.target.open) return;
    view.away = event.target.open;
    if (view.away && !view.known) {
      const known = await ask("push_elsewhere", { repo: form.repo.trim() });
      view.known = known || view.known;
    }
    draw();
  };
  const servers = () =>
    h(
      "details",
      { open: view.away, ontoggle: open, "data-key": "servers" },
      h("summary", {}, t("deploy_title")),
      view.away && view.known
        ? onServers(view.known, view.how, {
            choose: (how) => {
              view.how = how;
              draw();
            },
            download: () => trigger("submit", { run_id: view.run.run_id }),
          })
        : null,
    );
  const draw = () => {
    if (!view.run) return show(el);
    const id = view.run.run_id;
    const away =
      view.facts.lasts === false
        ? h(
            "div",
            { class: "notice info" },
            h("p", {}, t("disk_goes")),
            button(t("disk_bundle"), () => tell("bundle-wanted", id), "quiet"),
          )
        : null;
    const fold = h(
      "details",
      { open: view.open, ontoggle: (event) => (view.open = event.target.open) },
      h("summary", {}, t("push_title")),
      notice(view.error || view.lost),
      about(view.state),
    );
    show(el, h("section", { class: "box" }, away, fold, servers()));
  };

  hearJobs(["push"], () => view.run && look(), el);
  hear("run-shown", (run) => {
    const done = run && run.state === "completed" && run.model_id ? run : null;
    if (done?.run_id === view.run?.run_id) return;
    Object.assign(view, { run: done, state: { state: "none" }, error: null, open: false, known: null, away: false });
    view.looked = false;
    if (done) Object.assign(form, { repo: repoName(done), licence: "" });
    draw();
    if (done) look();
  });
});
