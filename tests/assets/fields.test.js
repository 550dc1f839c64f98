import assert from "node:assert/strict";
import test from "node:test";
import {
  controlOf,
  defaultsFor,
  errorOfField,
  fits,
  NAME,
  needed,
  settingsForForm,
} from "../../assets/train/fields.js";
import { kindOf } from "../../assets/learn/formulas.js";
import { useWords } from "../../assets/lib/words.js";

const DEFAULTS = { max_steps: 84, rank: 128, loss_on: "response", target_modules: [], name: "" };

test("a setting is there for its method and its task", () => {
  const rank = { methods: ["galore", "lora"], tasks: [] };
  const lossOn = { methods: [], tasks: ["chat"] };
  assert.ok(fits(rank, "galore", "chat") && fits(rank, "lora", "text") && !fits(rank, "adamw", "chat"));
  assert.ok(fits(lossOn, "adamw", "chat") && !fits(lossOn, "galore", "text"));
  assert.ok(fits(NAME.name, "galore", "preference"));
});

test("what a reward looks for is asked where it looks for something, in either reward", () => {
  const rewards = (reward, second = "none") => ({ reward, second_reward: second, policy_loss: "grpo" });
  assert.ok(needed("reward_text", rewards("regex")) && needed("reward_text", rewards("exact", "contains")));
  assert.ok(!needed("reward_text", rewards("exact")) && !needed("reward_tokens", rewards("exact", "json")));
  assert.ok(needed("second_share", rewards("exact", "json")) && !needed("second_share", rewards("exact")));
  assert.ok(needed("kl_weight", rewards("exact")) && !needed("kl_weight", { policy_loss: "rejection" }));
  assert.ok(needed("rank", {}));
  const probe = (values) => needed("probe_id", values);
  assert.deepEqual([{}, { asked: 26 }, { asked: 0, probe_id: "none" }].map(probe), [false, true, true]);
});

test("a setting is chosen with what suits it", () => {
  const setting = (more) => controlOf({ widget: "", choices: [], kind: "int", ...more });
  assert.equal(setting({}), "number");
  assert.equal(setting({ kind: "bool" }), "bool");
  assert.equal(setting({ choices: [32, 8] }), "choices");
  assert.equal(setting({ widget: "probe", kind: "str" }), "probe");
  assert.equal(setting({ widget: "share", kind: "float" }), "share");
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

test("a loss brings defaults of its own, and what is not them is sent", () => {
  const choices = {
    defaults: { grpo: { galore: { redraws: 0, rank: 8 } }, chat: { galore: { rank: 8 } } },
    defaults_by_loss: { policy_loss: { dapo: { redraws: 2 } } },
  };
  const usual = (task, changed) => defaultsFor(choices, task, "galore", changed);
  assert.deepEqual(usual("grpo", {}), { redraws: 0, rank: 8 });
  assert.deepEqual(usual("grpo", { policy_loss: "dapo" }), { redraws: 2, rank: 8 });
  assert.deepEqual(usual("chat", { policy_loss: "dapo" }), { rank: 8 }, "kept in mind of another task");
  assert.deepEqual(defaultsFor(null, "chat", "galore", {}), {});
  const run = { policy_loss: "dapo", redraws: 0 };
  assert.deepEqual(settingsForForm(run, usual("grpo", run)).changed, { redraws: 0 });
});

test("a larger new model learns at a lower rate with AdamW, and at the same with GaLore", () => {
  const own = { adamw: { learning_rate: 0.004, rank: 8 }, galore: { learning_rate: 0.01 } };
  const choices = { defaults: { pretrain: own, text: own }, pretrain_rates: { "1M": 0.004, "60M": 0.001 } };
  const rate = (task, method, changed) => defaultsFor(choices, task, method, changed).learning_rate;
  assert.equal(rate("pretrain", "adamw", {}), 0.004);
  assert.equal(rate("pretrain", "adamw", { model_size: "60M" }), 0.001);
  assert.equal(rate("pretrain", "galore", { model_size: "60M" }), 0.01);
  assert.equal(rate("text", "adamw", { model_size: "60M" }), 0.004, "kept in mind of another task");
});

test("an error says the form's name of the setting, and which field it is about", () => {
  const keys = ["max_steps", "rank", "name"];
  const names = { max_steps: "Steps", rank: "Rank", name: "Name" };
  const error = { message: "max_steps is -1.", hint: "Lower max_steps or the rank." };
  const found = errorOfField(error, keys, (key) => names[key]);
  assert.equal(found.field, "max_steps");
  assert.deepEqual(found.error, { message: "Steps is -1.", hint: "Lower Steps or the rank." });
  assert.equal(errorOfField({ message: "rank is 0.", hint: "" }, keys, (key) => names[key]).field, "rank");
  assert.equal(errorOfField({ message: "The name is gone.", hint: "" }, keys, String).field, null);
});

test("the field is found where the sentence names its label already, and in Chinese", () => {
  const names = { max_steps: "Steps", rank: "秩（rank）" };
  const fieldOf = (message) => errorOfField({ message, hint: "" }, Object.keys(names), (key) => names[key]).field;
  useWords({ quoted: "“{text}”" });
  assert.equal(fieldOf("“Steps” is -1."), "max_steps");
  assert.equal(fieldOf("Steps is a word."), null);
  useWords({ quoted: "「{text}」" });
  assert.equal(fieldOf("「Steps」是 -1。"), "max_steps");
  assert.equal(fieldOf("rank是 99999。"), "rank");
  assert.equal(fieldOf("這裡的 rank 太大。"), null);
});

test("which formula: a preference run's depends on its loss", () => {
  const kind = (preference_loss, label_smoothing = 0) =>
    kindOf({ task: "preference", preference_loss, label_smoothing });
  assert.deepEqual(
    [kind("dpo"), kind("dpo", 0.1), kind("ipo"), kind("robust", 0.1), kind("orpo"), kind("simpo")],
    ["preference", "preference_smoothed", "preference_ipo", "preference_robust", "preference_orpo", "preference_simpo"],
  );
  assert.equal(kindOf({ task: "chat" }), "chat");
});
