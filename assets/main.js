/* The page's scripts: words first, then the panels, then what Python has put on the page is drawn. */
import { start } from "./lib/api.js";
import { keepStylesLast } from "./lib/styles.js";
import { loadWords } from "./lib/words.js";
import "./shell.js";
import "./data/add.js";
import "./data/generate.js";
import "./data/panel.js";
import "./train/form.js";
import "./train/run.js";
import "./train/push.js";
import "./serving/panel.js";
import "./experiments/panel.js";
import "./learn/card.js";
import "./arena/panel.js";
import "./votes/panel.js";
import "./votes/ballot.js";
import "./evaluate/form.js";
import "./evaluate/result.js";
import "./evaluate/use.js";

keepStylesLast();
try {
  await loadWords();
} finally {
  start();
}
