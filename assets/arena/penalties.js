/* What any lane may have that changes its scores before it chooses: penalties, guidance, bans, biases. The fields,
   folded away, and how they are told in a lane's line of settings. Starts nothing. */
import { constraintOf } from "./constraints.js";
import { h, number, t } from "./dom.js";

export const PENALTIES = [
  "repetition_penalty",
  "no_repeat_ngram_size",
  "frequency_penalty",
  "presence_penalty",
  "min_new_tokens",
  "dry_multiplier",
  "guidance_scale",
];
const WORDS = {
  negative_prompt: "negative_prompt_placeholder",
  stop: "stop_placeholder",
  bad_words: "bad_words_placeholder",
  logit_bias: "logit_bias_placeholder",
};

/** Texts, one a line. @param {string} text */
export const linesOf = (text) => text.split("\n").filter((line) => line.trim());

const ENDS = { "\n": "\\n", "\t": "\\t" };

/** Stop strings, one a line; \n and \t as they are typed stand for a line end and a tab. @param {string} text */
export const stopsOf = (text) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replaceAll("\\n", "\n").replaceAll("\\t", "\t"));

/** The text that `stopsOf` reads back. @param {unknown} value */
export const stopText = (value) =>
  (Array.isArray(value) ? value : []).map((stop) => String(stop).replace(/[\n\t]/g, (each) => ENDS[each])).join("\n");

/** {text: number} of lines "TEXT: NUMBER", with a Chinese colon too; what is no number stays as it was typed, for the
 * app to refuse.
 * @param {string} text */
export const biasesOf = (text) =>
  Object.fromEntries(
    linesOf(text).map((line) => {
      const at = Math.max(line.lastIndexOf(":"), line.lastIndexOf("："));
      const [word, value] =
        at < 0
          ? [line, ""]
          : [
              line.slice(0, at),
              line
                .slice(at + 1)
                .trim()
                .replace("−", "-"),
            ];
      return [word.trim(), value && Number.isFinite(Number(value)) ? Number(value) : value];
    }),
  );

/** The text that `linesOf` or `biasesOf` reads back. @param {unknown} value */
export const textOf = (value) =>
  Array.isArray(value)
    ? value.join("\n")
    : Object.entries(value && typeof value === "object" ? value : {})
        .map(([word, bias]) => `${word}: ${bias}`)
        .join("\n");

/** @param {Record<string, any>} info of a lane: has it something that changes its scores, a form included? */
export const penalised = (info) =>
  Boolean(info.biased) || constraintOf(info) !== "" || PENALTIES.some((key) => info[key] !== undefined);

/** @param {Record<string, any>} info of a lane; the parts of its line of settings */
export const penaltyParts = (info) =>
  PENALTIES.filter((key) => info[key] !== undefined)
    .map((key) => t("set_" + key, { n: number(info[key], 2) }))
    .concat(info.biased ? [t("set_biased")] : [])
    .concat(constraintOf(info) ? [t("form_" + constraintOf(info))] : []);

/** The folded fields; registers each in form.inputs. @param {any} form */
export function penaltyFields(form) {
  const words = Object.entries(WORDS).map(([key, placeholder]) => {
    const input = h("textarea", {
      id: "arena-" + key,
      rows: 2,
      dir: "auto",
      placeholder: t(placeholder),
      onchange: () => form.hooks.changed(),
    });
    const read = { negative_prompt: (text) => text.trim(), stop: stopsOf, bad_words: linesOf, logit_bias: biasesOf }[
      key
    ];
    const written = { stop: stopText, negative_prompt: String }[key] || textOf;
    Object.assign(input, { read: () => read(input.value), write: (value) => (input.value = written(value)) });
    form.inputs[key] = input;
    return form.field(key, input);
  });
  return h(
    "details",
    { class: "more" },
    h("summary", {}, t("penalties")),
    h(
      "div",
      { class: "settings morebody-inner" },
      PENALTIES.map((key) => form.number(key)),
      words,
    ),
  );
}

/** Whether one of the fields differs from its default. @param {any} form */
export const penaltiesAreSet = (form) =>
  PENALTIES.some((key) => Number(form.inputs[key].value) !== form.spec[key].default) ||
  Object.keys(WORDS).some((key) => form.inputs[key].value.trim());
