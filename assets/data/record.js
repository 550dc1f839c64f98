/* One record of a data set: as tokens, as a conversation, and the list of all records. `page` is the data panel's state
 with ask, fail, draw, turn. Everything from a data set goes through text nodes. */
import * as L from "../lib/panel.js";
import { Component, h, t } from "../lib/panel.js";
import { nth, ntd, table, td, th, wide } from "../lib/table.js";

const RULER = 50; // every so many tokens their number is shown

const role = (name) => (t(`data_role_${name}`) === `data_role_${name}` ? name : t(`data_role_${name}`));

// ---- tokens
const BYTES = /^(?:<0x[0-9A-F]{2}>)+$/; // a part of a character, as llmdemo/data/tokens.py writes it

/** @param {string} text */
const bytesOf = (text) => Uint8Array.from(text.matchAll(/[0-9A-F]{2}/g), ([hex]) => parseInt(hex, 16));

/**
 * What each token shows: its text; where it holds bytes, the characters that end with it, "" where none does. Bytes of
 * no character, and those whose rest is not there, stay as they are.
 * @param {{text: string}[]} tokens
 */
export const shownTexts = (tokens) => {
  const texts = tokens.map((token) => token.text);
  for (let from = 0, to = 0; from < texts.length; from = to + 1) {
    for (to = from; to < texts.length && BYTES.test(texts[to]);) to += 1;
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    try {
      const whole = texts.slice(from, to).map((text) => decoder.decode(bytesOf(text), { stream: true }));
      decoder.decode();
      texts.splice(from, whole.length, ...whole);
    } catch {
      // no UTF-8
    }
  }
  return texts;
};

// What a token is, for the line under the tokens: place, id, learned or not.
const about = (token, row) =>
  [
    t("data_token_at", { n: L.int(token.position + 1), total: L.int(row.length), id: token.id }),
    BYTES.test(token.text) ? t("data_token_bytes", { bytes: token.text }) : null,
    token.cut ? t("data_token_gone") : token.trained ? t("data_token_learnt") : t("data_token_read"),
    token.eos ? t("data_token_end") : null,
  ]
    .filter(Boolean)
    .join(" · ");

const tokenClass = (token) =>
  ["t", token.trained && "tr", token.special && "sp", token.eos && "eos", token.cut && "gone"]
    .filter(Boolean)
    .join(" ");

const pieces = (page, row) => {
  const firstCut = row.tokens.findIndex((token) => token.cut);
  const shown = shownTexts(row.tokens);
  const piece = (token, i) => {
    const plain = shown[i] || (token.text ? "·" : ""); // a dot for each part that comes before its character
    const text = token.special ? `‹${token.text.replace(/^<|>$/g, "")}›` : plain.replace(/\n/g, "↵\n");
    return [
      i === firstCut
        ? h("span", { class: "cut-mark" }, t("data_cut_here", { n: L.int(page.record.max_length) }))
        : null,
      i && i % RULER === 0 ? h("i", { class: "at", "aria-hidden": "true" }, L.int(token.position)) : null,
      h("span", { class: tokenClass(token), "data-i": i }, text),
    ];
  };
  const hidden = row.length - row.tokens.length;
  return [
    row.tokens.map(piece),
    hidden > 0 ? h("span", { class: "soft" }, ` ${t("data_more_tokens", { n: L.int(hidden) })}`) : null,
  ];
};

/* A record's tokens; the one that the pointer is at is told below them. */
class Tokens extends Component {
  state = { at: null };
  render({ page, row }, { at }) {
    const point = (event) => {
      const i = event.target.dataset?.i;
      this.setState({ at: i === undefined ? null : Number(i) });
    };
    const token = at === null ? null : row.tokens[at];
    const label = t("data_record", { n: L.int(page.record.row) });
    const hooks = { onpointerover: point, onclick: point, onpointerleave: () => this.setState({ at: null }) };
    return [
      row.title ? h("h3", { class: "row-title" }, role(row.title)) : null,
      h("div", { class: "tok", tabindex: 0, role: "group", "aria-label": label, ...hooks }, pieces(page, row)),
      h(
        "div",
        { class: "cap" },
        h("span", {}, learnt(page.record, row)),
        h("span", { class: "token-said", role: "status" }, token ? about(token, row) : ""),
      ),
    ];
  }
}
const learnt = (record, row) => {
  if (record.kind === "classify") return `${t("data_role_label")}: ${record.turns[1]?.content ?? ""}`;
  const last = [...row.tokens].reverse().find((token) => token.trained);
  return L.sentences(
    t(last && last.eos ? "data_learns_eos" : "data_learns", { trained: L.int(row.trained), total: L.int(row.length) }),
    row.cut ? t("data_truncated", { n: L.int(record.max_length), total: L.int(row.length) }) : "",
  );
};

// ---- conversation, editor
const talk = (record) =>
  h(
    "dl",
    { class: "talk", tabindex: 0 },
    (record.turns || []).map((turnOf) => [
      h("dt", {}, role(turnOf.role)),
      h("dd", { class: turnOf.role }, L.clip(turnOf.content, 6000)),
    ]),
  );

const editor = (page, record) => {
  const { contents } = page.editing;
  const stop = () => {
    page.editing = null;
    page.draw();
  };
  const save = (event) => {
    event.preventDefault();
    page.editing = null;
    renew(page, "edit_record", { place: page.record.place, contents });
  };
  const area = (one, i) => {
    const rows = Math.min(10, 1 + Math.ceil(one.content.length / 90));
    const take = (text) => (contents[i] = text);
    return h(
      "label",
      { class: "soft small" },
      role(one.role),
      L.entry({ tag: "textarea", rows, value: contents[i], onchange: take }),
    );
  };
  return h(
    "form",
    { class: "editor", onsubmit: save },
    record.turns.map(area),
    h(
      "div",
      { class: "acts" },
      h("button", { type: "submit", class: "btn strong" }, t("data_save")),
      L.button(t("cancel"), stop, "quiet"),
    ),
  );
};
// An edit or a drop makes a new version; runs keep the one they were started with.
const renew = async (page, name, more) => {
  const { index } = page.record;
  const made = await page.change(name, { dataset_id: page.id, ...more });
  if (made && page.id === made) page.turn(Math.min(index ?? 0, page.total - 1));
};

// ---- the list
const NOTHING = { records: [], offset: 0, total: 0, size: 20 };
const wantedList = ({ id, query }) => `${id} ${query}`;
const listingOf = L.newest((page, offset) => page.ask("listing", { dataset_id: page.id, query: page.query, offset }));
export const listPage = async (page, offset = 0) => {
  const wanted = (page.listing = wantedList(page));
  const answer = await listingOf(page, offset);
  page.listing = "";
  if (wantedList(page) !== wanted) return; // another data set was opened, or something else searched for
  page.listed = answer.error ? page.listed || NOTHING : answer; // what has failed is not asked again by itself
  if (answer.error) page.fail(answer.error);
  else page.draw();
};
const list = (page) => {
  const found = page.listed;
  if (!found) {
    if (page.listing !== wantedList(page)) listPage(page);
    return h("p", { class: "soft", role: "status" }, t("loading"));
  }
  const odd = found.records.some((each) => !each.kept || each.problems.length);
  return wide(
    table(
      { class: "listing" },
      [nth(t("data_row")), th(t("data_what")), odd ? th(t("data_why")) : null],
      found.records.map((each) =>
        h(
          "tr",
          { class: each.kept ? "" : "left-out" },
          ntd(rowLink(page, each.row, each.place)),
          td(each.excerpt),
          odd
            ? h(
                "td",
                { class: "soft" },
                [each.kept ? null : t("data_is_left_out"), ...each.problems].filter(Boolean).join(", "),
              )
            : null,
        ),
      ),
    ),
  );
};
// A row's number that opens it, also where filters leave it out.
export const rowLink = (page, row, place) =>
  place === null || place === undefined
    ? L.int(row)
    : L.button(
        L.int(row),
        async () => {
          page.view = page.view === "list" ? "tokens" : page.view;
          await page.turnTo(place);
          document.querySelector("#data-report .record")?.scrollIntoView({ block: "start", behavior: "smooth" });
        },
        "quiet row-link",
        { "aria-label": t("data_open_row", { n: L.int(row) }), "data-key": `row-${row}` },
      );

const pager = (page) => {
  const listing = page.view === "list",
    found = page.found;
  const size = listing ? page.listed?.size || 20 : 1,
    total = listing ? page.listed?.total || 0 : found ? found.length : page.total;
  const at = listing ? page.listed?.offset || 0 : found ? found.indexOf(page.index) : page.index,
    last = Math.max(0, total - 1);
  const go = (place) =>
    listing
      ? listPage(page, Math.max(0, Math.min(place, last - (last % size))))
      : page.turn(found ? found[place] : place);
  const jump = (raw) => {
    const place = Math.max(0, Math.min(last, (+raw || 1) - 1));
    go(listing ? place - (place % size) : place);
  };
  const number = L.entry({
    type: "number",
    min: 1,
    max: total,
    value: total ? at + 1 : 0,
    class: "page",
    "aria-label": t("data_goto"),
    "data-key": "page",
    onchange: jump,
  });
  return h(
    "div",
    { class: "pager" },
    L.button("‹", () => go(at - size), "quiet", {
      "aria-label": t("data_previous"),
      disabled: at <= 0,
      "data-key": "prev",
    }),
    number,
    h("span", { class: "soft" }, t("data_of", { n: "", total: L.int(total) }).trim()),
    L.button("›", () => go(at + size), "quiet", {
      "aria-label": t("data_next"),
      disabled: at + size > last,
      "data-key": "next",
    }),
  );
};

// ---- search
const searchLine = (page) =>
  h(
    "form",
    { class: "searchline", onsubmit: (event) => event.preventDefault() },
    L.entry({
      type: "search",
      value: page.query,
      placeholder: t("data_search"),
      "aria-label": t("data_search"),
      "data-key": "search",
      maxlength: 200,
      onchange: (text) => search(page, text.trim()),
    }),
    page.query && page.searched
      ? h(
          "span",
          { class: "soft small", role: "status" },
          page.searched.length ? t("data_found", { n: L.int(page.searched.length) }) : t("data_none_found"),
        )
      : null,
  );
const search = async (page, query) => {
  Object.assign(page, { query, listed: null, found: null, searched: null });
  if (!query) return page.view === "list" ? page.draw() : page.turn(0);
  const { id } = page;
  const answer = await page.ask("search", { dataset_id: id, text: query });
  if (page.id !== id || page.query !== query) return; // something else was asked for meanwhile
  if (answer.error) return page.fail(answer.error);
  page.searched = answer.indices;
  page.found = answer.indices.length ? answer.indices : null;
  if (page.found && page.view !== "list") page.turn(page.found[0]);
  else page.draw();
};

// ---- the box
export const recordBox = (page) => {
  const { record, listed } = page;
  if (!record) return h("section", { class: "box record" }, h("p", { class: "soft", role: "status" }, t("loading")));
  const listing = page.view === "list",
    asTokens = page.view === "tokens" && record.rows;
  const title = listing
    ? t("data_list_title", {
        from: L.int(listed?.total ? listed.offset + 1 : 0),
        to: L.int(listed ? listed.offset + listed.records.length : 0),
        total: L.int(listed?.total || 0),
      })
    : t(asTokens ? "data_record" : "data_record_plain", { n: L.int(record.kept ? page.index + 1 : record.row) });
  const body = listing
    ? list(page)
    : page.editing?.place === record.place
      ? editor(page, record)
      : asTokens
        ? record.rows.map((row) => h(Tokens, { page, row }))
        : talk(record);
  const edit = () => {
    page.editing = { place: record.place, contents: record.turns.map((one) => one.content) };
    page.draw();
    L.find("#data-report textarea")?.focus();
  };
  return h(
    "section",
    { class: "box record" },
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, title, !listing && !record.kept ? h("span", { class: "tag" }, t("data_is_left_out")) : null),
      pager(page),
    ),
    h(
      "div",
      { class: "boxline tools" },
      searchLine(page),
      L.choice(
        t("data_view"),
        [
          ["tokens", t("data_as_tokens")],
          ["talk", t("data_as_talk")],
          ["list", t("data_as_list")],
        ],
        page.view,
        (view) => {
          page.view = view;
          page.draw();
        },
      ),
      listing
        ? null
        : h(
            "span",
            { class: "acts" },
            L.button(t("data_edit"), edit, "quiet", { "data-key": "edit" }),
            L.sure(t("data_drop_record"), t("data_drop_sure"), () =>
              renew(page, "drop_records", { places: [page.record.place] }),
            ),
          ),
    ),
    body,
    !record.rows && page.view === "tokens"
      ? h("p", { class: "soft small" }, record.refused || t("data_tokens_wait"))
      : null,
  );
};
