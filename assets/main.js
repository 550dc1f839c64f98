/* The page's scripts: words first, then the first panel, then what Python has put on the page is drawn. */
import { later, start } from "./lib/api.js";
import { keepStylesLast } from "./lib/styles.js";
import { loadWords } from "./lib/words.js";
import "./shell.js";
import "./data/add.js";
import "./data/generate.js";
import "./data/panel.js";
import "./data/tools.js";

// Each of these is fetched when the first of its islands is on the page, which is when its panel is opened.
later(["train-form"], () => import("./train/form.js"));
later(["train-run", "train-side"], () => import("./train/run.js"));
later(["watch"], () => import("./train/watch.js"));
later(["elsewhere"], () => import("./train/elsewhere.js"));
later(["push"], () => import("./train/push.js"));
later(["serving"], () => import("./serving/panel.js"));
later(["experiments"], () => import("./experiments/panel.js"));
later(["learn"], () => import("./learn/card.js"));
later(["lessons"], () => import("./learn/path.js"));
later(["arena"], () => import("./arena/panel.js"));
later(["votes"], () => import("./votes/panel.js"));
later(["ballot"], () => import("./votes/ballot.js"));
later(["evaluate-form"], () => import("./evaluate/form.js"));
later(["evaluate-benchmark"], () => import("./evaluate/benchmark.js"));
later(["evaluate-result", "evaluate-side"], () => import("./evaluate/result.js"));
later(["evaluate-use"], () => import("./evaluate/use.js"));

keepStylesLast();
try {
  await loadWords();
} finally {
  start();
}
