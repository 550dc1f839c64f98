/* One record of a data set: as tokens, as a conversation, and the list of all records. `page` is the data panel's state
 with ask, fail, draw, turn. Everything from a data set goes through text nodes. */
import * as L from "../lib/page.js";
import { h, t } from "../lib/page.js";

const RULER = 50; // every so many tokens their number is shown

const role = (name) => (t(`data_role_${name}`) === `data_role_${name}` ? name : t(`data_role_${name}`));

// ---- tokens
// What a token is, for the line under the tokens: place, id, learned or not.
const about = (token, row) =>
  [
    t("data_token_at", { n: L.int(token.position + 1), total: L.int(row.length), id: token.id }),
    token.cut ? t("data_token_gone") : token.trained ? t("data_token_learnt") : t("data_token_read"),
    token.eos ? t("data_token_end") : null,
  ]
    .filter(Boolean)
    .join(" · ");

const tokenRow = (page, row) => {
  const said = h("span", { class: "token-said", role: "status" }),
    nodes = [];
  let cut = false;
  row.tokens.forEach((token, i) => {
    if (token.cut && !cut) {
      cut = true;
      nodes.push(h("span", { class: "cut-mark" }, t("data_cut_here", { n: L.int(page.record.max_length) })));
    }
    if (i && i % RULER === 0) nodes.push(h("i", { class: "at", "aria-hidden": "true" }, L.int(token.position)));
    const text = token.special ? `‹${token.text.replace(/^<|>$/g, "")}›` : token.text.replace(/\n/g, "↵\n");
    nodes.push(
      h(
        "span",
        {
          class: `t ${token.trained ? "tr" : ""} ${token.special ? "sp" : ""} ${token.eos ? "eos" : ""} ${token.cut ? "gone" : ""}`,
          "data-i": i,
        },
        text,
      ),
    );
  });
  const hidden = row.length - row.tokens.length;
  if (hidden > 0) nodes.push(h("span", { class: "soft" }, ` ${t("data_more_tokens", { n: L.int(hidden) })}`));
  const box = h(
    "div",
    { class: "tok", tabindex: 0, role: "group", "aria-label": t("data_record", { n: L.int(page.record.row) }) },
    nodes,
  );
  const tell = (event) => {
    const i = event.target.dataset?.i;
    said.textContent = i === undefined ? "" : about(row.tokens[+i], row);
  };
  box.addEventListener("pointerover", tell);
  box.addEventListener("click", tell);
  box.addEventListener("pointerleave", () => {
    said.textContent = "";
  });
  return [
    row.title ? h("h3", { class: "row-title" }, role(row.title)) : null,
    box,
    h("div", { class: "cap" }, h("span", {}, learnt(page.record, row)), said),
  ];
};
const learnt = (record, row) => {
  if (record.kind === "classify") return `${t("data_role_label")}: ${record.turns[1]?.content ?? ""}`;
  const last = [...row.tokens].reverse().find((token) => token.trained);
  return (
    t(last && last.eos ? "data_learns_eos" : "data_learns", { trained: L.int(row.trained), total: L.int(row.length) }) +
    (row.cut ? " " + t("data_truncated", { n: L.int(record.max_length), total: L.int(row.length) }) : "")
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
  const areas = record.turns.map((one) =>
    h("textarea", {
      rows: Math.min(10, 1 + Math.ceil(one.content.length / 90)),
      value: one.content,
      "aria-label": one.role,
    }),
  );
  return h(
    "form",
    {
      class: "editor",
      onsubmit: (event) => {
        event.preventDefault();
        page.editing = null;
        renew(page, "edit", { contents: areas.map((area) => area.value) });
      },
    },
    record.turns.map((one, i) => [h("label", { class: "soft small" }, role(one.role)), areas[i]]),
    h(
      "div",
      { class: "acts" },
      h("button", { type: "submit", class: "btn strong" }, t("data_save")),
      L.button(
        t("close"),
        () => {
          page.editing = null;
          page.draw();
        },
        "quiet",
      ),
    ),
  );
};
// An edit or a drop makes a new version; runs keep the one they were started with.
const renew = async (page, name, more) => {
  const { place, index } = page.record;
  const answer = await page.ask(name, { dataset_id: page.id, place, ...more });
  if (answer.error) return page.fail(answer.error);
  L.tell("datasets-changed");
  await page.open(answer.dataset_id, true);
  page.turn(Math.min(index ?? 0, page.total - 1));
};

// ---- the list
export const listPage = async (page, offset = 0) => {
  const answer = await page.ask("listing", {
    dataset_id: page.id,
    offset,
    query: page.query,
    code: page.listCode || "",
  });
  if (answer.error) return page.fail(answer.error);
  page.listed = answer;
  page.draw();
};
const list = (page) => {
  const found = page.listed;
  if (!found) {
    listPage(page);
    return h("p", { class: "soft", role: "status" }, t("loading"));
  }
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "listing" },
      h(
        "thead",
        {},
        h("tr", {}, h("th", { class: "n" }, t("data_row")), h("th", {}, t("data_what")), h("th", {}, t("data_why"))),
      ),
      h(
        "tbody",
        {},
        found.records.map((each) =>
          h(
            "tr",
            { class: each.kept ? "" : "left-out" },
            h("td", { class: "n" }, rowLink(page, each.row, each.place)),
            h("td", {}, each.excerpt),
            h(
              "td",
              { class: "soft" },
              [each.kept ? null : t("data_is_left_out"), ...each.problems].filter(Boolean).join(", "),
            ),
          ),
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
  const number = h("input", {
    type: "number",
    min: 1,
    max: total,
    value: total ? at + 1 : 0,
    class: "page",
    "aria-label": t("data_goto"),
    "data-key": "page",
    onchange: (event) => {
      const place = Math.max(0, Math.min(last, (+event.target.value || 1) - 1));
      go(listing ? place - (place % size) : place);
    },
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
    {
      class: "searchline",
      onsubmit: (event) => {
        event.preventDefault();
        search(page, event.target.querySelector("input").value.trim());
      },
    },
    h("input", {
      type: "search",
      class: "entry",
      value: page.query,
      placeholder: t("data_search"),
      "aria-label": t("data_search"),
      "data-key": "search",
      maxlength: 200,
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
  const answer = await page.ask("search", { dataset_id: page.id, text: query });
  if (answer.error) return page.fail(answer.error);
  page.searched = answer.indices;
  page.found = answer.indices.length ? answer.indices : null;
  if (page.found && page.view !== "list") page.turn(page.found[0]);
  else page.draw();
};

// ---- the box
export const recordBox = (page) => {
  const box = h("section", { class: "box record" }),
    { record, listed } = page;
  if (!record) {
    L.show(box, h("p", { class: "soft", role: "status" }, t("loading")));
    return box;
  }
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
    : page.editing === record.place
      ? editor(page, record)
      : asTokens
        ? record.rows.map((row) => tokenRow(page, row))
        : talk(record);
  const edit = () => {
    page.editing = record.place;
    page.draw();
    document.querySelector("#data-report textarea")?.focus();
  };
  L.show(
    box,
    h(
      "div",
      { class: "boxline" },
      h("h2", {}, title, !listing && !record.kept ? h("span", { class: "tag" }, t("data_is_left_out")) : null),
      pager(page),
    ),
    body,
    !record.rows && page.view === "tokens"
      ? h("p", { class: "soft small" }, record.refused || t("data_tokens_wait"))
      : null,
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
            L.sure(t("data_drop_record"), t("data_drop_sure"), () => renew(page, "drop")),
          ),
    ),
  );
  return box;
};
