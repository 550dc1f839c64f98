/* Files on their way into Gradio's field, which loses what comes while it has others: it is emptied once those are
   being read. Such files wait here. So do files that are dropped beside the field, or before it is there: the browser
   would open them in the page's place. */
import { find, visible } from "../lib/api.js";

const FIELD = "#data-file";
const AGAIN_MS = 100;
const PATIENCE_MS = 20000; // then the field shows a file that the app has not begun to read

/** @type {File[][]} */
const waiting = [];
/** The input that was filled last, and when. */
const filled = { input: /** @type {any} */ (null), at: 0 };
let timer = 0;

const inputOf = () => find(`${FIELD} input[type=file]`);

/* Each upload takes the field's input away, and an emptied field has a new one. */
const isFree = (input) =>
  Boolean(input) &&
  ((input !== filled.input && !find(`${FIELD} .file-preview`)) || Date.now() - filled.at > PATIENCE_MS);

const give = () => {
  timer = 0;
  const input = inputOf();
  if (isFree(input)) {
    const given = new DataTransfer();
    for (const file of waiting.shift() || []) given.items.add(file);
    input.files = given.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }
  if (waiting.length) wait();
};
const wait = () => (timer ||= window.setTimeout(give, AGAIN_MS));

const hold = (event, files) => {
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.type === "change") event.target.value = "";
  if (!files.length) return;
  waiting.push(files);
  wait();
};

const hasFiles = (event) => Boolean(event.dataTransfer?.types.includes("Files"));

/** Looks at files before Gradio's field gets them, whichever way they come.
   @param {(files: File[]) => boolean} refused */
export const watchFiles = (refused) => {
  const take = (event, list) => {
    if (!event.target.closest?.(FIELD)) return;
    const files = [...(list || [])];
    if (refused(files)) hold(event, []);
    else if (files.length && !isFree(inputOf())) hold(event, files);
    else if (files.length) Object.assign(filled, { input: inputOf(), at: Date.now() });
  };
  document.addEventListener("change", (event) => take(event, /** @type {any} */ (event.target).files), true);
  document.addEventListener("drop", (event) => take(event, event.dataTransfer?.files), true);
};

/* Beside the field and before it is there; on other panels the pointer shows that nothing is taken. */
const isTaken = () => !find(FIELD) || visible(find(FIELD));

document.addEventListener("dragover", (event) => {
  if (event.defaultPrevented || !event.dataTransfer || !hasFiles(event)) return;
  event.preventDefault();
  if (!isTaken()) event.dataTransfer.dropEffect = "none";
});
document.addEventListener("drop", (event) => {
  if (!event.defaultPrevented && hasFiles(event)) hold(event, isTaken() ? [...(event.dataTransfer?.files || [])] : []);
});
