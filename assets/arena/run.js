/* A comparison under way: its name, what it goes on from, and its stream of events. Knows no page. */
import { randomId } from "../lib/api.js";
import { readStream, streamAddress } from "../lib/stream.js";
import { inWords, t as words } from "../lib/words.js";

/** Events without sentences, which are nearly all. */
const WORDLESS = ["token", "beam", "step", "names", "best"];

export class Run {
  id = randomId();
  begun = false; // whether an event has come, other than of its place in the queue
  traced = false; // whether the trace is its own: until it begins, the one before is shown
  leave = new AbortController();

  /** @param {any} fork what it goes on from: {prefix, only, model}, or null */
  constructor(fork) {
    this.fork = fork;
  }

  /**
   * Gives `take` each batch of events until one is the end, which may be one of its own where the stream breaks off.
   * @param {(events: any[]) => void} take
   */
  async follow(take) {
    const how = await readStream(
      streamAddress(this.id),
      (events) => {
        this.begun = this.begun || events[0]?.type !== "queued";
        take(events.map((event) => (WORDLESS.includes(event.type) ? event : inWords(event))));
        return events.at(-1)?.type === "end";
      },
      { signal: this.leave.signal },
    );
    if (how === "done" || how === "left") return;
    const message = how === "lost" ? words("connection_lost") : how;
    take([{ type: "end", state: "failed", message, hint: "", seconds: 0 }]);
  }

  /** Reads no further. */
  end() {
    this.leave.abort();
  }
}
