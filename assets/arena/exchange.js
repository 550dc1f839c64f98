/* What leaves the arena and comes into it: copied links, Python and texts, exported and imported traces. */
import * as L from "../lib/api.js";
import { copy, h, t } from "./dom.js";
import { link } from "./link.js";
import { textOf } from "./panes.js";
import { Trace } from "./trace.js";

const MOST_BYTES = 64 * 2 ** 20;

export class Exchange {
  /** @param {any} app the arena's panel: its form, server, trace and batch, and where it says things */
  constructor(app) {
    this.app = app;
    this.file = h("input", {
      type: "file",
      accept: ".json,application/json",
      hidden: true,
      onchange: () => this.importTrace(),
    });
    const act = (key, run) => h("button", { type: "button", class: "quiet", onclick: run }, t(key));
    this.element = h(
      "div",
      { class: "actions" },
      act("copy_link", () => this.copyLink()),
      act("copy_python", () => this.copyPython()),
      act("export", () => this.exportTrace()),
      act("import", () => this.file.click()),
      this.file,
    );
  }

  /* Says `key` once `work` is done, or what went wrong. */
  async tell(work, key) {
    try {
      await work;
      this.app.say(t(key));
    } catch (error) {
      const message = error.message && error.message !== "clipboard" ? error.message : t("no_clipboard");
      this.app.showError({ message, hint: "" });
    }
  }

  copyText(lane) {
    this.tell(copy(textOf(lane)), "copied_text");
  }

  link = () => link(this.app.form);

  copyLink() {
    const made = Promise.resolve().then(() => copy(this.link()));
    this.tell(made, "copied_link");
  }

  copyPython() {
    const { form, server } = this.app;
    const request = { model_ids: form.modelIds, prompt: form.promptValue(), settings: form.settings() };
    const fetched = L.ask(server, "python", request).then((answer) => {
      if (answer.error) throw new Error(answer.error.message);
      return copy(answer.code);
    });
    this.tell(fetched, "copied_python");
  }

  exportTrace() {
    const { trace, batch, isBatch } = this.app;
    if (isBatch && batch.last) L.save("batch.json", "application/json", JSON.stringify(batch));
    else if (trace.meta) L.save(`trace-${trace.meta.seed}.json`, "application/json", JSON.stringify(trace));
    else this.app.say(t("nothing_to_export"));
  }

  async importTrace() {
    const file = this.file.files[0];
    this.file.value = "";
    if (!file || this.app.run) return;
    try {
      if (file.size > MOST_BYTES) throw new Error("trace");
      const trace = Trace.parse(await file.text());
      this.app.past.leave();
      this.app.showTrace(trace);
      this.app.past.add(trace);
      this.app.say(t("imported", { name: file.name }));
    } catch {
      this.app.showError({ message: t("bad_trace", { name: file.name }), hint: t("bad_trace_hint") });
    }
  }
}
