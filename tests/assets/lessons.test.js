/* The arithmetic of the lessons, against values by hand and against brute force. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { above } from "../../assets/learn/change-views.js";
import { talliedBy, wilson } from "../../assets/learn/decoding-views.js";
import { bestOf, REWARDS } from "../../assets/learn/hacking-views.js";
import { byPlace } from "../../assets/learn/judge-views.js";
import { shuffled } from "../../assets/learn/progress.js";
import { dpoLoss } from "../../assets/learn/run-views.js";
import { Bigram, wordClassifier } from "../../assets/learn/small-models.js";
import { examplesOf } from "../../assets/learn/small-views.js";
import { VIEWS } from "../../assets/learn/views.js";
import lessons from "../../assets/learn/lessons.json" with { type: "json" };

const close = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);

test("DPO's loss is ln 2 at a margin of nought and does not overflow", () => {
  close(dpoLoss(0, 0.1), Math.log(2));
  close(dpoLoss(5, 0.1), -Math.log(1 / (1 + Math.exp(-0.5))));
  close(dpoLoss(-2000, 1), 2000);
  close(dpoLoss(2000, 1), 0);
});

test("best of n is the mean over all choices of n answers", () => {
  const answers = [3, 1, 4, 1.5, 9].map((reward, n) => ({ reward, quality: [0.1, 0.9, 0.5, 0.3, 0][n] }));
  for (const size of [1, 2, 3, 5]) {
    const winners = [];
    for (let mask = 0; mask < 1 << answers.length; mask += 1) {
      const some = answers.filter((_, n) => mask & (1 << n));
      if (some.length === size) winners.push(some.reduce((a, b) => (b.reward > a.reward ? b : a)));
    }
    const mean = (key) => winners.reduce((sum, each) => sum + each[key], 0) / winners.length;
    const found = bestOf(answers, size);
    close(found.reward, mean("reward"));
    close(found.quality, mean("quality"));
  }
  assert.equal(REWARDS.length("one two  three"), 3);
});

test("a judge that goes by the place alone is found out, and one that does not is not", () => {
  const byPlaceAlone = { orders: [[5, 1], [1, 5]], agreed: false }; // prettier-ignore
  const byAnswer = { orders: [[5, 1], [5, 1]], agreed: true }; // prettier-ignore
  assert.deepEqual(byPlace([byPlaceAlone, { orders: [null, [1, 2]], agreed: false }]), { n: 1, turned: 1, lead: 4 });
  assert.deepEqual(byPlace([byAnswer]), { n: 1, turned: 0, lead: 0 });
});

test("picks are tallied by strategy, with the perplexity of all its tokens' means", () => {
  const lane = (value) => ({ metrics: { mean_logprob: Math.log(value) } });
  const rounds = [
    { lanes: { greedy: lane(0.5), beam: lane(0.5) }, picked: "beam" },
    { lanes: { greedy: lane(0.125), beam: lane(0.5) }, picked: "beam" },
  ];
  const [greedy, beam] = talliedBy(rounds);
  close(greedy.perplexity, 4);
  assert.deepEqual([greedy.wins, beam.wins, beam.rounds], [0, 2, 2]);
  assert.deepEqual(wilson(5, 10).map((value) => value.toFixed(3)), ["0.237", "0.763"]); // prettier-ignore
});

test("surprise that has not moved is above the other in half of all pairs", () => {
  assert.equal(above([1, 2], [1, 2]), 0.5);
  assert.equal(above([1, 2], [3]), 1);
});

test("choices stand in an order of their own, each once, the same for the same seed", () => {
  const orders = Array.from({ length: 40 }, (_, n) => shuffled(["a", "b", "c"], `seed ${n}`));
  for (const order of orders) assert.deepEqual(order.map(([key]) => key).sort(), ["a", "b", "c"]); // prettier-ignore
  assert.ok(orders.every((order) => order.every(([key, at]) => key === ["a", "b", "c"][at])));
  const firsts = orders.map(([[key]]) => key);
  for (const key of "abc") assert.ok(firsts.filter((each) => each === key).length > 5, key);
  assert.deepEqual(shuffled([1, 2, 3], "x"), shuffled([1, 2, 3], "x"));
});

test("each lesson is shown in place, and each view belongs to a lesson", () => {
  const views = lessons.lessons.map(({ view }) => view);
  assert.deepEqual(views.filter((view) => !(view in VIEWS)), []); // prettier-ignore
  assert.deepEqual(Object.keys(VIEWS).filter((view) => !views.includes(view)), []); // prettier-ignore
});

test("a bigram model begins at ln V and ends near the entropy of what follows what", () => {
  const text = "abab".repeat(20) + "acac".repeat(20);
  const model = new Bigram(text);
  close(model.loss(), Math.log(3), 0.02);
  const gradient = (() => {
    const step = 1e-4;
    const before = model.loss();
    model.logits[0][1] += step;
    const moved = (model.loss() - before) / step;
    model.logits[0][1] -= step;
    return moved;
  })();
  const at = model.logits[0][1];
  model.step(1);
  close(at - model.logits[0][1], gradient, 1e-3); // the step is the gradient of the loss
  for (let n = 0; n < 400; n += 1) model.step();
  close(model.loss(), Math.log(2) / 2, 0.03); // after a: b or c; after these: a
  assert.match(model.write(40), /^[abc]{40}$/);
});

test("words that tell get weights of the right sign, and an unknown text has no more than the bias", () => {
  const lines =
    "ham: see you at lunch\nspam: win a free prize\nham: lunch tomorrow\nspam: free prize now\nodd\nother: x";
  const model = wordClassifier(examplesOf(lines));
  assert.deepEqual(model.labels, ["ham", "spam"]);
  assert.ok(model.weight("Free") > 0 && model.weight("lunch") < 0);
  assert.ok(model.chance("a free prize") > 0.7 && model.chance("lunch") < 0.4);
  close(model.chance("quokka"), model.chance(""));
  assert.deepEqual(examplesOf("ham: only one label"), []);
});
