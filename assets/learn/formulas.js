/* The losses as formulas in MathML, which browsers draw themselves. */
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";

const m = (tag, ...parts) => h(tag, null, ...parts);
const i = (text) => m("mi", text);
const o = (text) => m("mo", text);
const n = (text) => m("mn", text);
const word = (text) => h("mi", { mathvariant: "normal" }, text);
const sub = (base, under) => m("msub", base, under),
  row = (...parts) => m("mrow", ...parts),
  over = (top, bottom) => m("mfrac", top, bottom);
const sum = (under) => m("munder", o("∑"), under),
  minus = () => o("−"),
  eq = () => o("=");
const gap = () => h("mspace", { width: ".18em" }),
  log = () => row(word("log"), gap());
const call = (name, ...inside) => row(word(name), o("("), ...inside, o(")"));
const ofMargin = (...sign) => row(i("σ"), o("("), ...sign, i("β"), i("Δ"), o(")"));
const perToken = (answer) =>
  row(over(n("1"), row(o("|"), i(answer), o("|"))), log(), i("π"), o("("), i(answer), o(")"));
const softmax = () => call("softmax", sub(i("z"), i("t")));
const strayed = (first, second) =>
  row(o("("), n("1"), minus(), i("σ"), o("("), i("β"), o("("), first, minus(), second, o(")"), o(")"), o(")"));
const mean = () => row(word("mean"), o("("), i("r"), o(")"));
const spread = () =>
  row(
    o(","),
    gap(),
    sub(i("A"), i("i")),
    eq(),
    over(row(sub(i("r"), i("i")), minus(), mean()), row(word("std"), o("("), i("r"), o(")"))),
  );
/* A policy's loss over G answers: `outer` before the sum over answers, `inner` before that over each one's tokens. */
const averaged = (outer, inner) => [
  i("L"),
  eq(),
  minus(),
  outer,
  sum(i("i")),
  inner,
  sum(i("t")),
  word("min"),
  o("("),
  i("ρ"),
  sub(i("A"), i("i")),
  o(","),
  call("clip", i("ρ")),
  sub(i("A"), i("i")),
  o(")"),
];
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
  preference_orpo: () => [
    i("L"),
    eq(),
    minus(),
    perToken("w"),
    minus(),
    i("β"),
    gap(),
    log(),
    i("σ"),
    o("("),
    log(),
    call("odds", i("w")),
    minus(),
    log(),
    call("odds", i("l")),
    o(")"),
  ],
  preference_simpo: () => [
    i("L"),
    eq(),
    minus(),
    log(),
    i("σ"),
    o("("),
    i("β"),
    o("["),
    perToken("w"),
    minus(),
    perToken("l"),
    o("]"),
    minus(),
    i("γ"),
    o(")"),
  ],
  reward: () => [
    i("L"),
    eq(),
    minus(),
    log(),
    i("σ"),
    o("("),
    i("r"),
    o("("),
    i("w"),
    o(")"),
    minus(),
    i("r"),
    o("("),
    i("l"),
    o(")"),
    o(")"),
  ],
  // g is an answer's log-ratio to the reference, z the batch's.
  kto: () => [
    i("L"),
    eq(),
    sub(i("λ"), i("D")),
    strayed(i("g"), i("z")),
    gap(),
    word("or"),
    gap(),
    sub(i("λ"), i("U")),
    strayed(i("z"), i("g")),
  ],
  grpo: () => [...averaged(over(n("1"), i("G")), over(n("1"), row(o("|"), sub(i("o"), i("i")), o("|")))), spread()],
  grpo_dapo: () => [...averaged(over(n("1"), row(sum(i("i")), o("|"), sub(i("o"), i("i")), o("|"))), null), spread()],
  grpo_dr_grpo: () => [
    ...averaged(over(n("1"), row(i("G"), sub(i("T"), word("max")))), null),
    row(o(","), gap(), sub(i("A"), i("i")), eq(), sub(i("r"), i("i")), minus(), mean()),
  ],
  grpo_rejection: () => [
    i("L"),
    eq(),
    minus(),
    over(n("1"), i("N")),
    sum(row(sub(i("r"), i("i")), o("≥"), n("1"))),
    sum(i("t")),
    log(),
    i("π"),
    o("("),
    sub(i("o"), row(i("i"), o(","), i("t"))),
    o(")"),
  ],
};
// Which formula and which words: a preference run's depend on its loss.
export const kindOf = ({ task, preference_loss: loss, label_smoothing: share, policy_loss: policy }) => {
  if (task === "grpo") return ["dapo", "dr_grpo", "rejection"].includes(policy) ? `grpo_${policy}` : task;
  if (task !== "preference") return task;
  if (["ipo", "robust", "orpo", "simpo"].includes(loss)) return `preference_${loss}`;
  return Number(share) > 0 ? "preference_smoothed" : task;
};
/** A loss as a formula that the browser draws. @param {string} kind */
export const formula = (kind) =>
  h("math", { displaystyle: "true", "aria-label": t("learn_formula") }, m("mrow", ...FORMULAS[kind]()));
