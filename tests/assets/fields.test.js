import assert from "node:assert/strict";
import test from "node:test";
import { errorOfField, FIELDS, fits, settingsForForm } from "../../assets/train/fields.js";
import { kindOf } from "../../assets/learn/formulas.js";

const DEFAULTS = { max_steps: 84, rank: 128, loss_on: "response", target_modules: [], name: "" };

test("a setting is there for its method and its task", () => {
  assert.ok(fits("rank", "galore", "chat", DEFAULTS) && fits("rank", "lora", "chat", DEFAULTS));
  assert.ok(!fits("rank", "adamw", "chat", DEFAULTS));
  assert.ok(!fits("loss_on", "galore", "text", DEFAULTS));
  assert.ok(!fits("beta", "galore", "preference", DEFAULTS)); // no default: the app doesn't know it
});

test("a run's settings become those of the form: what is unusual, without what is the run's own", () => {
  const run = {
    dataset_id: "d",
    model_id: "starter",
    method: "lora",
    task: "chat",
    max_steps: 20,
    rank: 128,
    target_modules: [],
    name: null,
    group: "g",
  };
  assert.deepEqual(settingsForForm(run, DEFAULTS), {
    base: { dataset_id: "d", model_id: "starter", method: "lora" },
    changed: { max_steps: 20 },
  });
});

test("an error says the form's name of the setting, and which field it is about", () => {
  const names = { max_steps: "Steps", rank: "Rank" };
  const found = errorOfField(
    { message: "max_steps is -1.", hint: "Lower max_steps or the rank." },
    (key) => names[key],
  );
  assert.equal(found.field, "max_steps");
  assert.deepEqual(found.error, { message: "Steps is -1.", hint: "Lower Steps or the rank." });
  assert.equal(errorOfField({ message: "The data is gone.", hint: "" }, String).field, null);
});

test("each field has its words in both languages", async () => {
  const { readFileSync } = await import("node:fs");
  for (const language of ["en", "zh-TW"]) {
    const words = JSON.parse(readFileSync(new URL(`../../assets/words/${language}.json`, import.meta.url), "utf8"));
    for (const [key] of FIELDS) assert.ok(words[`f_${key}`] && words[`h_${key}`], `${key} in ${language}`);
  }
});

test("which formula: a preference run's depends on its loss", () => {
  const kind = (preference_loss, label_smoothing = 0) =>
    kindOf({ task: "preference", preference_loss, label_smoothing });
  assert.deepEqual(
    [kind("dpo"), kind("dpo", 0.1), kind("ipo"), kind("robust", 0.1)],
    ["preference", "preference_smoothed", "preference_ipo", "preference_robust"],
  );
  assert.equal(kindOf({ task: "chat" }), "chat");
});
