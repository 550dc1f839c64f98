/* What goes on in the app, as it happens (llmdemo/ui/page_stream.py): one stream a page, open while it is looked at.
   Tells the page "header" and "job", "runs-pulse" where a run's state has changed, "run-ended", and "connection" with
   whether there is one. */
import { hear, tell, visible, whenShown } from "./api.js";
import { readStream, streamAddress } from "./stream.js";
import { inWords } from "./words.js";

const AGAIN_MS = 8000;
/* States of a job that is not over, as llmdemo/jobs/states.py has them. */
export const ACTIVE = ["queued", "starting", "running", "stopping"];
const OVER = ["completed", "stopped", "failed", "deleted"];

/* The app writes into the page behind which event it was made, so that no change after a panel's first answer is
   missed. */
const pageAddress = () => {
  const since = document.querySelector("script[data-since]")?.getAttribute("data-since");
  return streamAddress(since ? `page?since=${since}` : "page");
};

let begun = false;

/** Begins to read, once for the page. */
export const live = () => {
  if (begun) return;
  begun = true;
  const position = { last: "" };
  /** @type {Map<string, string>} */
  const states = new Map();
  const tellState = ({ kind, job_id: id, state }) => {
    if (kind !== "all" && (kind !== "run" || states.get(id) === state)) return;
    states.set(id, state);
    tell("runs-pulse");
    if (kind === "all" || OVER.includes(state)) tell("run-ended", id);
  };
  let leave = new AbortController();
  let reads = false;
  /** @param {any[]} events */
  const take = (events) => {
    tell("connection", true);
    for (const event of events) {
      tell(event.type, inWords(event));
      if (event.type === "job") tellState(event);
    }
    return false;
  };
  const read = async () => {
    if (reads) return;
    reads = true;
    while (document.visibilityState === "visible") {
      leave = new AbortController();
      const how = await readStream(pageAddress(), take, { signal: leave.signal, position });
      if (how === "left") continue; // and come back at once, or hidden
      tell("connection", false);
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
    reads = false;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") read();
    else leave.abort(); // browsers open six connections to a host, for all tabs together
  });
  read();
};

/**
 * Calls `act` when a job of one of these kinds has changed, or may have; not while it is at it, but then once more.
 * While nobody sees `el`, that waits until it is shown.
 * @param {string[]} kinds
 * @param {() => unknown} act
 * @param {Element} [el]
 * @param {number} [pause] ms from one to the next
 */
export const hearJobs = (kinds, act, el, pause = 0) => {
  let busy = false;
  let again = false;
  let missed = false;
  const run = async () => {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await act();
        if (pause) await new Promise((done) => setTimeout(done, pause));
      }
    } finally {
      busy = false;
    }
  };
  hear("job", ({ kind }) => {
    if (kind !== "all" && !kinds.includes(kind)) return;
    if (!el || visible(el)) run();
    else missed = true;
  });
  if (!el) return;
  whenShown(el, () => {
    if (missed) run();
    missed = false;
  });
};

/** Until something of these jobs has changed, or may have. @param {string[]} ids @returns {Promise<void>} */
export const changed = (ids) =>
  new Promise((done) => {
    const deaf = hear("job", ({ kind, job_id: id }) => {
      if (kind !== "all" && !ids.includes(id)) return;
      deaf();
      done();
    });
  });
