/* The losses as formulas in MathML, which browsers draw themselves. */
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";

const m = (tag, ...inside) => h(tag, null, ...inside);
const word = (text) => h("mi", { mathvariant: "normal" }, text);
const gap = () => h("mspace", { width: ".18em" });
const symbol = (text) => {
  if (text === "log") return m("mrow", word("log"), gap());
  return m(/^\d/.test(text) ? "mn" : /^\p{L}/u.test(text) ? "mi" : "mo", text);
};
/* A text stands for its symbols, with spaces between them. */
const all = (...parts) => parts.flatMap((each) => (typeof each === "string" ? each.split(" ").map(symbol) : [each]));
const row = (...parts) => m("mrow", ...all(...parts)),
  sub = (base, under) => m("msub", ...all(base, under)),
  power = (base, exponent) => m("msup", ...all(base, exponent)),
  over = (top, bottom) => m("mfrac", ...all(top, bottom)),
  sum = (under) => m("munder", ...all("∑", under)),
  call = (name, ...inside) => row(word(name), "(", ...inside, ")");
const ofMargin = (...sign) => row("σ (", ...sign, "β Δ )");
const perToken = (answer) => row(over("1", row(`| ${answer} |`)), `log π ( ${answer} )`);
const toReference = (answer) => over(row(`π ( ${answer} )`), row(sub("π", word("ref")), `( ${answer} )`));
const strayed = (first, second) => row(`( 1 − σ ( β ( ${first} − ${second} ) ) )`);
const advantage = (...is) => row(",", gap(), sub("A", "i"), "=", ...is);
const aboveMean = () => [sub("r", "i"), "−", call("mean", "r")];
const spread = () => advantage(over(row(...aboveMean()), call("std", "r")));
/* A policy's loss over G answers: `outer` before the sum over answers, `inner` before that over each one's tokens. */
const averaged = (outer, ...inner) => [
  ...["−", outer, sum("i"), ...inner, sum("t"), word("min"), "( ρ", sub("A", "i"), ",", call("clip", "ρ")],
  ...[sub("A", "i"), ")"],
];
const FORMULAS = {
  chat: () => [
    "−",
    over("1", "N"),
    sum(row("t ∈", word("answer"))),
    "log",
    sub(call("softmax", sub("z", "t")), sub("y", "t")),
  ],
  text: () => ["−", over("1", "T"), sum("t"), "log p (", sub("y", "t"), "|", sub("y", row("< t")), ")"],
  classify: () => ["− log", over(power("e", sub("z", "y")), row(sum("c"), power("e", sub("z", "c"))))],
  preference: () => {
    const ratio = (answer) => row("log", toReference(answer));
    return ["− log σ ( β [", ratio("w"), "−", ratio("l"), "] )"];
  },
  // Δ is the bracket of the formula above; for IPO of the mean over each answer's tokens.
  preference_smoothed: () => ["− ( 1 − ε ) log", ofMargin(), "− ε", gap(), "log", ofMargin("−")],
  preference_robust: () => [
    over(row("− ( 1 − ε ) log", ofMargin(), "+ ε", gap(), "log", ofMargin("−")), row("1 − 2 ε")),
  ],
  preference_ipo: () => {
    const ratio = (answer) => row(over("1", row(`| ${answer} |`)), "log", toReference(answer));
    return [power(row("[", ratio("w"), "−", ratio("l"), "−", over("1", row("2 β")), "]"), "2")];
  },
  preference_orpo: () => [
    ...["−", perToken("w"), "− β", gap(), "log σ ( log", call("odds", "w"), "− log", call("odds", "l"), ")"],
  ],
  preference_simpo: () => ["− log σ ( β [", perToken("w"), "−", perToken("l"), "] − γ )"],
  reward: () => ["− log σ ( r ( w ) − r ( l ) )"],
  // g is an answer's log-ratio to the reference, z the batch's.
  kto: () => [sub("λ", "D"), strayed("g", "z"), gap(), word("or"), gap(), sub("λ", "U"), strayed("z", "g")],
  grpo: () => [...averaged(over("1", "G"), over("1", row("|", sub("o", "i"), "|"))), spread()],
  grpo_dapo: () => [...averaged(over("1", row(sum("i"), "|", sub("o", "i"), "|"))), spread()],
  grpo_dr_grpo: () => [...averaged(over("1", row("G", sub("T", word("max"))))), advantage(...aboveMean())],
  grpo_rejection: () => [
    ...["−", over("1", "N"), sum(row(sub("r", "i"), "≥ 1")), sum("t"), "log π (", sub("o", row("i , t")), ")"],
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
  h("math", { displaystyle: "true", "aria-label": t("learn_formula") }, row("L =", ...FORMULAS[kind]()));
