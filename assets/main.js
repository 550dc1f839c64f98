/* The page's scripts: words first, then the panels, then what Python has put on the page is drawn. */
import { start } from "./lib/api.js";
import { loadWords } from "./lib/words.js";
import "./shell.js";
import "./data/panel.js";
import "./train/form.js";
import "./train/run.js";
import "./train/push.js";
import "./experiments/panel.js";
import "./learn/card.js";
import "./arena/panel.js";
import "./evaluate/form.js";
import "./evaluate/result.js";

try {
  await loadWords();
} finally {
  start();
}
