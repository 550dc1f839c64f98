/* The card that opens the train panel: three sentences on the task of the chosen data, its loss as a formula, and, when
 asked for, its numbers on one of the visitor's own records, before and after training. Closed cards stay closed. */
import * as L from "../lib/page.js";
import { h, t } from "../lib/page.js";

// ---- formulas in MathML, which browsers draw themselves
const M = "http://www.w3.org/1998/Math/MathML";
const m = (tag, ...parts) => {
  const node = document.createElementNS(M, tag);
  node.append(...parts.flat());
  return node;
};
const i = (text) => m("mi", text),
  o = (text) => m("mo", text),
  n = (text) => m("mn", text),
  word = (text) => {
    const node = m("mi", text);
    node.setAttribute("mathvariant", "normal");
    return node;
  };
const sub = (base, under) => m("msub", base, under),
  row = (...parts) => m("mrow", ...parts),
  over = (top, bottom) => m("mfrac", top, bottom);
const sum = (under) => m("munder", o("∑"), under),
  minus = () => o("−"),
  eq = () => o("=");
const gap = () => {
    const node = m("mspace");
    node.setAttribute("width", ".18em");
    return node;
  },
  log = () => row(word("log"), gap());
const call = (name, ...inside) => row(word(name), o("("), ...inside, o(")"));
const ofMargin = (...sign) => row(i("σ"), o("("), ...sign, i("β"), i("Δ"), o(")"));
const softmax = () => call("softmax", sub(i("z"), i("t")));
const FORMULAS = {
  chat: () => [
    i("L"),
    eq(),
    minus(),
    over(n("1"), i("N")),
    sum(row(i("t"), o("∈"), word("answer"))),
    log(),
    sub(softmax(), sub(i("y"), i("t"))),
  ],
  text: () => [
    i("L"),
    eq(),
    minus(),
    over(n("1"), i("T")),
    sum(i("t")),
    log(),
    i("p"),
    o("("),
    sub(i("y"), i("t")),
    o("|"),
    sub(i("y"), row(o("<"), i("t"))),
    o(")"),
  ],
  classify: () => [
    i("L"),
    eq(),
    minus(),
    log(),
    over(m("msup", i("e"), sub(i("z"), i("y"))), row(sum(i("c")), m("msup", i("e"), sub(i("z"), i("c"))))),
  ],
  preference: () => {
    const ratio = (answer) =>
      row(
        log(),
        over(row(i("π"), o("("), i(answer), o(")")), row(sub(i("π"), word("ref")), o("("), i(answer), o(")"))),
      );
    return [
      i("L"),
      eq(),
      minus(),
      log(),
      i("σ"),
      o("("),
      i("β"),
      o("["),
      ratio("w"),
      minus(),
      ratio("l"),
      o("]"),
      o(")"),
    ];
  },
  // Δ is the bracket of the formula above; for IPO of the mean over each answer's tokens.
  preference_smoothed: () => [
    i("L"),
    eq(),
    minus(),
    o("("),
    n("1"),
    minus(),
    i("ε"),
    o(")"),
    log(),
    ofMargin(),
    minus(),
    i("ε"),
    gap(),
    log(),
    ofMargin(minus()),
  ],
  preference_robust: () => [
    i("L"),
    eq(),
    over(
      row(
        minus(),
        o("("),
        n("1"),
        minus(),
        i("ε"),
        o(")"),
        log(),
        ofMargin(),
        o("+"),
        i("ε"),
        gap(),
        log(),
        ofMargin(minus()),
      ),
      row(n("1"), minus(), n("2"), i("ε")),
    ),
  ],
  preference_ipo: () => {
    const ratio = (answer) =>
      row(
        over(n("1"), row(o("|"), i(answer), o("|"))),
        log(),
        over(row(i("π"), o("("), i(answer), o(")")), row(sub(i("π"), word("ref")), o("("), i(answer), o(")"))),
      );
    return [
      i("L"),
      eq(),
      m(
        "msup",
        row(o("["), ratio("w"), minus(), ratio("l"), minus(), over(n("1"), row(n("2"), i("β"))), o("]")),
        n("2"),
      ),
    ];
  },
};
// Which formula and which words: a preference run's depend on its loss.
const kindOf = ({ task, preference_loss: loss, label_smoothing: share }) => {
  if (task !== "preference") return task;
  if (loss === "ipo" || loss === "robust") return `preference_${loss}`;
  return Number(share) > 0 ? "preference_smoothed" : task;
};
const formula = (kind) => {
  const math = m("math", m("mrow", ...FORMULAS[kind]()));
  math.setAttribute("displaystyle", "true");
  math.setAttribute("aria-label", t("learn_formula"));
  return math;
};

const remembered = (task) => {
  try {
    return localStorage.getItem(`llmdemo-learn-${task}`) !== "closed";
  } catch {
    return true;
  }
};
const remember = (task, open) => {
  try {
    localStorage.setItem(`llmdemo-learn-${task}`, open ? "open" : "closed");
  } catch {
    /* a private window: then it is open again next time */
  }
};

L.define("learn", ({ el, server }) => {
  const state = { task: null, settings: null, shown: false, place: 0, found: null, error: null, busy: false };
  const numbersBox = h("div", {});

  const compute = async () => {
    if (state.busy || !state.settings) return;
    state.busy = true;
    state.error = null;
    drawNumbers();
    const about = state.about,
      answer = await L.ask(server, "numbers", { config: state.settings, place: state.place });
    state.busy = false;
    if (about !== state.about) return compute(); // other data was chosen meanwhile
    state.error = answer.error || null;
    state.found = answer.error ? null : answer;
    if (!answer.error) state.place = answer.place;
    drawNumbers();
  };

  const draw = () => {
    const { task, kind } = state;
    L.show(
      el,
      h(
        "details",
        { class: "learn", open: remembered(task), ontoggle: (event) => remember(task, event.target.open) },
        h("summary", {}, t(`learn_title_${task}`)),
        h(
          "div",
          { class: "learn-in" },
          h("div", {}, h("p", {}, t(`learn_about_${task}`)), h("p", { class: "soft" }, t(`learn_torch_${kind}`))),
          h("div", { class: "formula" }, formula(kind)),
          h(
            "details",
            {
              class: "learn-numbers",
              open: state.shown,
              ontoggle: (event) => {
                state.shown = event.target.open;
                if (state.shown && !state.found && !state.error) compute();
              },
            },
            h("summary", { id: "learn-numbers" }, t("learn_numbers")),
            numbersBox,
          ),
        ),
      ),
    );
    drawNumbers();
  };

  const num = (value) => L.num(value, 2),
    p = (value) =>
      value >= 0.001 || value === 0 ? `${L.num(100 * value, value < 0.1 ? 2 : 1)} %` : `${value.toExponential(1)}`;
  const chance = (value) => [
    p(value),
    h("span", { class: "bar", "aria-hidden": "true" }, h("i", { style: `width:${(100 * value).toFixed(1)}%` })),
  ];
  const cells = (each) =>
    each
      ? [
          h("td", { class: "n split" }, num(each.logit)),
          h("td", { class: "n" }, chance(each.probability)),
          h("td", { class: "n" }, num(each.surprise)),
        ]
      : [];
  const heads = (found) => [
    h(
      "tr",
      {},
      h("th", {}),
      h("th", { class: "over split", colspan: 3 }, t("learn_before")),
      found.after
        ? h("th", { class: "over split", colspan: 3 }, t("learn_after", { run: L.clip(found.run_name, 30) }))
        : null,
    ),
    h(
      "tr",
      {},
      h("th", {}, t(found.task === "classify" ? "learn_class" : "learn_token")),
      [found.before, found.after]
        .filter(Boolean)
        .map(() => [
          h("th", { class: "n split" }, t("learn_logit")),
          h("th", { class: "n" }, t("learn_probability")),
          h("th", { class: "n" }, t("learn_surprise")),
        ]),
    ),
  ];
  const visible = (text) => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "·");
  const total = (each) =>
    each ? [h("td", { class: "n split", colspan: 2 }), h("td", { class: "n" }, num(each.loss))] : [];

  const tokenTable = (found) =>
    h(
      "table",
      {},
      h("thead", {}, heads(found)),
      h(
        "tbody",
        {},
        found.before.rows.map((each, k) =>
          h(
            "tr",
            {},
            h(
              "td",
              {
                class: "piece",
                title: each.best === each.text ? null : `${visible(each.best)} ${p(each.best_probability)}`,
              },
              visible(each.text),
            ),
            cells(each),
            found.after ? cells(found.after.rows[k]) : null,
          ),
        ),
        h(
          "tr",
          { class: "total" },
          h("td", {}, t("learn_mean", { n: L.int(found.before.trained) })),
          total(found.before),
          total(found.after),
        ),
      ),
    );
  const classTable = (found) =>
    h(
      "table",
      {},
      h("thead", {}, heads(found)),
      h(
        "tbody",
        {},
        found.before.rows.map((each) =>
          h(
            "tr",
            { class: each.name === found.before.label ? "total" : "" },
            h("td", { class: "piece" }, each.name, each.name === found.before.label ? ` · ${t("learn_right")}` : ""),
            cells(each),
            found.after ? cells(found.after.rows.find((other) => other.name === each.name)) : null,
          ),
        ),
        found.before.classes > found.before.rows.length
          ? h(
              "tr",
              {},
              h(
                "td",
                { class: "soft" },
                t("learn_classes", { n: found.before.rows.length, total: L.int(found.before.classes) }),
              ),
              h("td", { class: "split", colspan: found.after ? 6 : 3 }),
            )
          : null,
        h("tr", { class: "total" }, h("td", {}, t("learn_loss")), total(found.before), total(found.after)),
      ),
    );
  const pairTable = (found) => {
    const times = [
      ["learn_before", found.before],
      ["learn_after", found.after],
    ].filter(([, each]) => each);
    const isIpo = found.before.target !== null;
    const gain = (each, key) => each.policy[key] - each.reference[key];
    const single = (name, of) =>
      h(
        "tr",
        { class: "total" },
        h("td", {}, name),
        times.map(([, each]) => h("td", { class: "n split", colspan: 3 }, of(each))),
      );
    return h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", {}),
          times.map(([key]) =>
            h("th", { class: "over split", colspan: 3 }, t(key, { run: L.clip(found.run_name || "", 30) })),
          ),
        ),
        h(
          "tr",
          {},
          h("th", {}, t("learn_answer")),
          times.map(() => [
            h("th", { class: "n split" }, t("learn_policy")),
            h("th", { class: "n" }, t("learn_reference")),
            h("th", { class: "n" }, t("learn_gain")),
          ]),
        ),
      ),
      h(
        "tbody",
        {},
        ["chosen", "rejected"].map((key) =>
          h(
            "tr",
            {},
            h(
              "td",
              { class: "piece", title: found.before.answers[key] },
              `${t(`data_role_${key}`)}: ${L.clip(found.before.answers[key], 24)}`,
            ),
            times.map(([, each]) => [
              h("td", { class: "n split" }, num(each.policy[key])),
              h("td", { class: "n" }, num(each.reference[key])),
              h("td", { class: "n" }, num(gain(each, key))),
            ]),
          ),
        ),
        single(t(isIpo ? "learn_margin_mean" : "learn_margin"), (each) => num(each.margin)),
        isIpo
          ? single(t("learn_target", { beta: found.beta }), (each) => num(each.target))
          : single(t("learn_scaled", { beta: found.beta }), (each) => num(each.scaled)),
        single(t("learn_loss"), (each) => L.num(each.loss, 3)),
      ),
    );
  };
  const TABLES = { chat: tokenTable, text: tokenTable, classify: classTable, preference: pairTable };

  const drawNumbers = () => {
    const { found } = state;
    if (!state.shown) return L.show(numbersBox);
    if (state.busy) return L.show(numbersBox, h("p", { class: "soft", role: "status" }, t("learn_computing")));
    if (state.error) return L.show(numbersBox, L.notice(state.error));
    if (!found) return L.show(numbersBox);
    const last = found.after || found.before;
    L.show(
      numbersBox,
      h("p", { class: "prompt" }, found.text),
      h(
        "div",
        { class: "learn-table", tabindex: 0, role: "group", "aria-label": t("learn_numbers") },
        TABLES[found.task](found),
      ),
      h(
        "div",
        { class: "learn-line" },
        h("span", {}, t("learn_record", { n: L.int(found.record) })),
        found.places > 1
          ? L.button(
              t("learn_other"),
              () => {
                state.place += 1;
                compute();
              },
              "quiet",
              { id: "learn-other" },
            )
          : null,
        last.cross_entropy !== undefined
          ? h("span", {}, t("learn_same", { value: L.num(last.cross_entropy, 2) }))
          : null,
        found.after ? null : h("span", {}, t("learn_no_after")),
      ),
    );
  };

  // The form tells what is chosen; only what changes the numbers makes them stale.
  L.hear("train-form", (settings) => {
    const about = JSON.stringify(
      ["dataset_id", "model_id", "seed", "eval_share", "loss_on", "beta", "preference_loss", "label_smoothing"].map(
        (key) => settings[key],
      ),
    );
    const kind = kindOf(settings),
      other = kind !== state.kind;
    if (about === state.about) return;
    Object.assign(state, { about, settings, task: settings.task, kind, found: null, error: null, place: 0 });
    if (other || !el.firstChild) draw();
    else drawNumbers();
    if (state.shown) compute();
  });
  // A finished run is what "after" was missing. On another panel, the numbers are computed when they are come back to.
  const missing = () => state.shown && !state.found && !state.error && el.getClientRects().length > 0;
  L.hear("run-ended", () => {
    state.found = null;
    missing() ? compute() : drawNumbers();
  });
  new IntersectionObserver(() => {
    if (missing()) compute();
  }).observe(el);
});
