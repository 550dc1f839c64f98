/* The owners' section below the arena: opens a vote on what stands in the arena's form, shows its link as a QR code and
   the board while it fills, and makes a preference data set of the votes. */
import {
  ask,
  button,
  define,
  entry,
  h,
  hear,
  int,
  menu,
  newest,
  notice,
  openPanel,
  ownId,
  progressBar,
  s,
  save,
  show,
  sure,
  t,
  tell,
  visible,
  when,
} from "../lib/panel.js";
import { copy } from "../arena/dom.js";
import { drawBoard } from "./board.js";
import { addressOf, codePath } from "./link.js";
import { mark, titleOf } from "./names.js";

const LOOK_MS = 2000;
const LOOPBACK = /^(localhost|127\.|\[::1\])/;

class Votes {
  open = false;
  listed = false; // whether it is known which votes there are
  /** @type {any[]} */
  votes = [];
  chosen = ""; // the vote that is shown; "" for the form
  /** @type {any} */
  board = null;
  /** @type {string[]} */
  code = [];
  by = "";
  /** @type {any} */
  error = null;
  /** @type {any} */
  made = null;
  said = "";
  busy = false;
  /** @type {any} */
  setup = { model_ids: [], models: [], settings: { lanes: [] } };
  arenaPrompts = "";
  fields = { title: "", prompts: null, own: false, votes: "200" };
  ids = { prompts: ownId("votes"), title: ownId("votes"), votes: ownId("votes"), own: ownId("votes") };

  /** @param {import("../lib/api.js").Island} island */
  constructor({ el, server }) {
    this.el = el;
    this.server = server;
    this.read = newest(() => ask(server, "list_votes"));
    this.readBoard = newest((id) => ask(server, "vote_board", { session_id: id }));
    hear("arena-changed", () => this.open && !this.chosen && this.readArena());
    setInterval(() => this.look(), LOOK_MS);
    this.list().then(() => this.begin());
    this.draw();
  }

  /* What is shown first: the vote that goes on, or the form for a new one; not before it is known whether one does. */
  begin() {
    const running = this.votes.find((vote) => !vote.closed);
    if (!this.open || !this.listed || this.chosen) this.draw();
    else if (running) this.choose(running.session_id);
    else this.readArena();
  }

  // ---- asking ----

  async list() {
    const answer = await this.read();
    if (!answer.error) this.votes = answer;
    this.listed = true;
  }

  /* The models and settings of the arena's form, and its prompt, until one is written here. */
  readArena() {
    tell("arena-setup", (setup) => {
      this.setup = setup;
      this.arenaPrompts = setup.prompts.join("\n");
    });
    this.draw();
  }

  prompts() {
    return this.fields.prompts ?? this.arenaPrompts;
  }

  toggle(open) {
    if (open === this.open) return;
    this.open = open;
    this.begin();
  }

  async choose(id) {
    Object.assign(this, { chosen: id, board: null, code: [], made: null, said: "", error: null });
    if (!id) return this.readArena();
    this.draw(); // without the buttons of the one before, which would act on this one
    await this.look(true);
    if (id !== this.chosen || !this.board) return; // another one was chosen meanwhile, or nothing can be shown
    const answer = await ask(this.server, "votes_code", { link: addressOf(this.board.link, window.location.href) });
    if (id !== this.chosen) return;
    if (!answer.error) this.code = answer.rows;
    this.draw();
  }

  async look(now = false) {
    if (!now && (!this.open || !this.chosen || this.board?.closed || !visible(this.el))) return;
    const id = this.chosen;
    const answer = await this.readBoard(id);
    if (id !== this.chosen) return;
    this.error = answer.error || null;
    if (!answer.error) this.board = answer;
    this.draw();
  }

  async act(name, data) {
    this.busy = true;
    this.error = null;
    this.draw();
    const answer = await ask(this.server, name, data);
    this.busy = false;
    this.error = answer.error || null;
    this.draw();
    return answer.error ? null : answer;
  }

  async start(config, settings) {
    const answer = await this.act("open_vote", { config, settings });
    if (!answer) return;
    this.choose(answer.session_id);
    this.list();
  }

  submit() {
    const { title, own, votes } = this.fields;
    const lines = this.prompts()
      .split("\n")
      .filter((line) => line.trim());
    const config = { title: title.trim(), model_ids: this.setup.model_ids, prompts: lines, own_prompts: own };
    this.start({ ...config, votes: Number(votes) || 0 }, this.setup.settings);
  }

  async close() {
    const id = this.chosen;
    const answer = await this.act("close_vote", { session_id: id });
    if (answer && id === this.chosen) this.board = answer;
    await this.list();
    this.draw();
  }

  async download(kind) {
    const answer = await this.act("export_votes", { session_id: this.chosen, format: kind });
    if (!answer) return;
    if (kind === "csv") save(answer.name, "text/csv", `\ufeff${answer.text}`);
    else save(answer.name, "application/json", JSON.stringify(answer.votes, null, 1));
  }

  async learn() {
    const id = this.chosen;
    const answer = await this.act("votes_to_preferences", { session_id: id });
    if (!answer) return;
    if (id === this.chosen) this.made = answer;
    tell("preference-added", answer.dataset_id);
    this.draw();
  }

  train() {
    tell("train-on", this.made.dataset_id);
    openPanel("train");
  }

  /* The same prompts once more: the model that learned from the votes against the one before. */
  async again() {
    const title = t("votes_again_title", { title: this.board.title });
    const answer = await this.act("vote_again", { session_id: this.chosen, title });
    if (!answer) return;
    this.choose(answer.session_id);
    this.list();
  }

  async copyLink() {
    try {
      await copy(addressOf(this.board.link, window.location.href));
      this.said = t("votes_copied");
    } catch {
      this.said = t("arena_no_clipboard");
    }
    this.draw();
  }

  // ---- drawing ----

  draw() {
    const running = this.votes.find((vote) => !vote.closed);
    show(
      this.el,
      h(
        "details",
        { class: "votes arena", open: this.open, ontoggle: (event) => this.toggle(event.target.open) },
        h(
          "summary",
          {},
          running && !this.open
            ? t("votes_running", { title: running.title || when(running.opened) })
            : t("votes_title"),
        ),
        this.open && this.listed
          ? [this.picker(), notice(this.error), this.chosen ? this.running() : this.form()]
          : null,
      ),
    );
  }

  picker() {
    if (!this.votes.length) return null;
    const now = (vote) => (vote.session_id === this.chosen && this.board ? this.board.votes : vote.votes);
    const one = (vote) => [vote.session_id, `${vote.title || when(vote.opened)} · ${t("votes_n", { n: now(vote) })}`];
    return h(
      "div",
      { class: "votes-picker" },
      menu({
        options: [["", t("votes_new")], ...this.votes.map(one)],
        value: this.chosen,
        onchange: (id) => this.choose(id),
        "aria-label": t("votes_which"),
      }),
    );
  }

  form() {
    const { fields, ids } = this;
    const set = (key) => (value) => {
      fields[key] = value;
      this.draw();
    };
    const field = (key, word, control) =>
      h("div", { class: `votes-field ${key}` }, h("label", { for: ids[key] }, t(word)), control);
    return h(
      "div",
      { class: "votes-form" },
      h("p", { class: "soft" }, t("votes_about")),
      field(
        "title",
        "votes_f_title",
        entry({
          id: ids.title,
          maxlength: 120,
          value: fields.title,
          onchange: set("title"),
          placeholder: t("ballot_title"),
        }),
      ),
      field(
        "prompts",
        "votes_f_prompts",
        entry({ tag: "textarea", id: ids.prompts, rows: 4, value: this.prompts(), onchange: set("prompts") }),
      ),
      h(
        "label",
        { class: "votes-own" },
        h("input", { type: "checkbox", checked: fields.own, onchange: (event) => set("own")(event.target.checked) }),
        " ",
        t("votes_f_own"),
      ),
      field(
        "votes",
        "votes_f_votes",
        entry({ id: ids.votes, type: "number", min: 1, max: 20000, value: fields.votes, onchange: set("votes") }),
      ),
      this.contestants(),
      h(
        "div",
        {},
        // No model stands in the arena's form until its menu is filled.
        button(t("votes_open"), () => this.submit(), "strong", { disabled: this.busy || !this.setup.model_ids.length }),
      ),
    );
  }

  contestants() {
    const { settings, models } = this.setup;
    const lane = (each) =>
      typeof each === "string"
        ? { lane: each, strategy: each }
        : { lane: each.name || each.strategy, strategy: each.strategy };
    return h(
      "p",
      { class: "votes-contestants" },
      t("votes_contestants"),
      " ",
      (settings.lanes || []).map((each) =>
        h("span", { class: "contestant" }, mark(lane(each).strategy), titleOf(lane(each))),
      ),
      h("span", { class: "soft" }, models.join(" · ")),
    );
  }

  running() {
    const { board } = this;
    if (!board) return null;
    const change = (by) => {
      this.by = by;
      this.draw();
    };
    return h(
      "div",
      { class: "votes-running" },
      h(
        "aside",
        { class: "votes-side" },
        board.closed ? h("p", {}, t(`votes_closed_${board.closed}`)) : this.invitation(),
        this.progress(),
        this.actions(),
      ),
      h(
        "div",
        { class: "votes-board" },
        h("h2", {}, board.title || t("votes_board")),
        drawBoard(board, this.by, change),
      ),
    );
  }

  invitation() {
    const address = addressOf(this.board.link, window.location.href);
    return [
      LOOPBACK.test(window.location.host)
        ? notice({ kind: "info", message: t("votes_loopback"), hint: t("votes_loopback_hint") })
        : null,
      this.code.length ? this.picture(address) : null,
      h("a", { class: "votes-link", href: address, target: "_blank", rel: "noopener" }, address),
      button(t("votes_copy"), () => this.copyLink(), "quiet"),
      this.said ? h("span", { class: "soft", role: "status" }, this.said) : null,
    ];
  }

  /* Dark on white in both themes, with the quiet zone of four modules that readers need. */
  picture(address) {
    const size = this.code.length + 8;
    return s(
      "svg",
      {
        class: "votes-code",
        viewBox: `-4 -4 ${size} ${size}`,
        role: "img",
        "aria-label": t("votes_code", { address }),
        "shape-rendering": "crispEdges",
      },
      s("rect", { x: -4, y: -4, width: size, height: size, fill: "#fff" }),
      s("path", { d: codePath(this.code), fill: "#000" }),
    );
  }

  progress() {
    const { board } = this;
    const made = board.ready < board.prompts && !board.closed;
    return [
      h(
        "p",
        { class: "votes-count" },
        h("b", {}, int(board.votes)),
        " ",
        t("votes_of", { wanted: int(board.wanted), joined: board.joined }),
      ),
      progressBar(Math.min(1, board.votes / board.wanted), t("votes_n", { n: board.votes })),
      made ? h("p", { class: "soft", role: "status" }, t("ballot_making", board)) : null,
      board.failed ? notice({ message: board.failed, hint: "" }) : null,
    ];
  }

  actions() {
    const { board, made } = this;
    const quiet = (word, act) => button(t(word), act, "quiet", { disabled: this.busy, "data-key": word });
    return h(
      "div",
      { class: "votes-actions" },
      made ? h("p", { role: "status" }, t("votes_made", made)) : null,
      made ? button(t("votes_train"), () => this.train(), "strong") : null,
      board.votes && !made ? button(t("votes_learn"), () => this.learn(), "", { disabled: this.busy }) : null,
      board.tuned ? button(t("votes_again"), () => this.again(), "", { disabled: this.busy }) : null,
      board.votes ? quiet("votes_csv", () => this.download("csv")) : null,
      board.votes ? quiet("votes_json", () => this.download("json")) : null,
      board.closed ? null : sure(t("votes_close"), t("votes_close_sure"), () => this.close()),
    );
  }
}

define("votes", (island) => {
  new Votes(island);
});
