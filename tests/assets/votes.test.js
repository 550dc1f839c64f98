import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { useWords } from "../../assets/lib/words.js";
import { conclusion, domain } from "../../assets/votes/board.js";
import { addressOf, codePath } from "../../assets/votes/link.js";

useWords(JSON.parse(await readFile(new URL("../../assets/words/en.json", import.meta.url), "utf8")));

const row = (lane, share = null, low = null, high = null) => ({
  lane,
  strategy: lane,
  model: "",
  share,
  share_low: low,
  share_high: high,
});
const board = (says, rest = {}) => ({
  boards: { strategy: [row("top_p"), row("greedy"), row("mine")] },
  says: { votes: 120, leaders: [], behind: [], more: null, ...says },
  voters: 20,
  by_voter: true,
  ...rest,
});

test("the winner is named with whom it beats", () => {
  const told = conclusion(board({ code: "decided", leaders: [0], behind: [1, 2] }));
  assert.equal(told, "Top-p is preferred to Greedy and mine.");
});

test("an open lead says how many votes more it takes, and of whom it speaks", () => {
  const told = conclusion(board({ code: "open", leaders: [0, 1, 2], more: 300 }, { voters: 3, by_voter: false }));
  assert.match(told, /^120 votes do not tell the contestants apart yet\./);
  assert.match(told, /about 300 more votes/);
  assert.match(told, /only 3 voters/);
});

test("one voter's votes are said to be one person's", () => {
  assert.match(conclusion(board({ code: "open" }, { voters: 1, by_voter: false })), /from one person/);
  assert.doesNotMatch(conclusion(board({ code: "few" }, { voters: 1 })), /from one person/);
});

test("the axis holds every interval and the middle", () => {
  const [low, high] = domain([row("a", 0.7, 0.55, 0.93), row("b", 0.3, 0.1, 0.45), row("c")]);
  assert.ok(low <= 0.1 && high >= 0.93);
  const [narrow, wide] = domain([row("a", 0.5, 0.49, 0.51)]);
  assert.ok(narrow <= 0.4 && wide >= 0.6);
});

test("a vote's address stands beside the app's own page, below a path too", () => {
  const link = "vote?vote=vote-1";
  assert.equal(addressOf(link, "http://10.0.0.2:7860/?x=1"), "http://10.0.0.2:7860/vote?vote=vote-1");
  assert.equal(addressOf(link, "https://hub.example/apps/demo/"), "https://hub.example/apps/demo/vote?vote=vote-1");
});

test("the code's dark modules are unit squares in their places", () => {
  assert.equal(codePath(["10", "01"]), "M0 0h1v1h-1zM1 1h1v1h-1z");
});
