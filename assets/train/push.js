/* Beside a finished run: its model goes to the Hugging Face hub. The token is sent once and kept nowhere. */
import * as L from "../lib/page.js";
import { h, t } from "../lib/page.js";

L.define("push", ({ el, server }) => {
  const view = { run: null, state: { state: "none" }, facts: {}, open: false, error: null, timer: 0 };
  const repo = h("input", {
    type: "text",
    maxlength: 200,
    autocomplete: "off",
    spellcheck: "false",
    "data-key": "push-repo",
  });
  const token = h("input", { type: "password", maxlength: 512, autocomplete: "off", "data-key": "push-token" });
  const licence = h("input", {
    type: "text",
    maxlength: 40,
    autocomplete: "off",
    spellcheck: "false",
    "data-key": "push-licence",
  });
  const isPrivate = h("input", { type: "checkbox", checked: true, "data-key": "push-private" });
  const form = h(
    "form",
    {
      class: "pushform",
      onsubmit: (event) => {
        event.preventDefault();
        start();
      },
    },
    h("label", {}, t("push_repo"), repo),
    h("label", {}, t("push_token"), token),
    h("p", { class: "soft print" }, t("push_token_about")),
    h("label", {}, t("push_licence"), licence),
    h("label", { class: "check" }, isPrivate, " ", t("push_private")),
    h("button", { class: "btn strong", type: "submit" }, t("push_go")),
  );

  const ask = async (name, data) => {
    const answer = await L.ask(server, name, { run_id: view.run?.run_id, ...data });
    view.error = answer.error || null;
    return answer.error ? null : answer;
  };
  const start = async () => {
    const state = await ask("push_start", {
      repo: repo.value.trim(),
      token: token.value,
      private: isPrivate.checked,
      licence: licence.value.trim(),
    });
    token.value = "";
    if (state) view.state = state;
    follow();
  };
  const look = async () => {
    const { run } = view,
      state = await ask("push_state");
    if (run !== view.run || !state) return draw();
    const { licence: known, token: given, lasts, ...rest } = state;
    Object.assign(view, { state: rest, facts: { given, lasts } });
    if (!licence.value) licence.value = known || "";
    follow();
  };
  const follow = () => {
    clearTimeout(view.timer);
    if (view.state.state === "going") view.timer = setTimeout(look, 1000);
    draw();
  };
  const progress = ({ sent, total, file }) =>
    h(
      "div",
      {},
      h(
        "p",
        { class: "soft print" },
        total ? t("push_sending", { sent: L.bytes(sent), total: L.bytes(total), file }) : t("push_begins"),
      ),
      h(
        "div",
        {
          class: "progress",
          role: "progressbar",
          "aria-label": t("push_title"),
          "aria-valuemin": 0,
          "aria-valuemax": 100,
          "aria-valuenow": total ? Math.round((sent / total) * 100) : null,
        },
        h("i", {
          style: total ? `width:${((sent / total) * 100).toFixed(1)}%` : "width:30%",
          class: total ? "" : "unsure",
        }),
      ),
      L.button(
        t("push_stop"),
        async () => {
          await ask("push_stop");
          look();
        },
        "quiet",
      ),
    );
  const about = (s) => {
    if (s.state === "going") return progress(s);
    const said =
      s.state === "done"
        ? L.notice({ kind: "info", message: t("push_done"), hint: s.url })
        : s.message
          ? L.notice(s)
          : null;
    return [said, view.facts.given ? h("p", { class: "soft print" }, t("push_given")) : null, form];
  };
  const draw = () => {
    if (!view.run) return L.show(el);
    const id = view.run.run_id;
    const fold = h(
      "details",
      {
        open: view.open,
        ontoggle: (event) => {
          view.open = event.target.open;
        },
      },
      h("summary", {}, t("push_title")),
      L.notice(view.error),
      about(view.state),
    );
    const away =
      view.facts.lasts === false
        ? h(
            "div",
            { class: "notice info" },
            h("p", {}, t("disk_goes")),
            L.button(t("disk_bundle"), () => L.tell("bundle-wanted", id), "quiet"),
          )
        : null;
    L.show(el, h("section", { class: "box" }, away, fold));
  };
  L.hear("run-shown", (run) => {
    const done = run && run.state === "completed" && run.model_id ? run : null;
    if (done?.run_id === view.run?.run_id) return;
    clearTimeout(view.timer);
    Object.assign(view, { run: done, state: { state: "none" }, error: null, open: false });
    licence.value = "";
    if (done) {
      repo.value = done.run_id;
      look();
    } else draw();
  });
});
