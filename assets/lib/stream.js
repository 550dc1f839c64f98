/* Reads server-sent events of the app (llmdemo/ui/event_streams.py) and goes on after a break behind the last one that
   came. Knows nothing of what they mean. */

/** The server says something at least every 10 seconds; after this long without, the connection counts as broken. */
const SILENCE_MS = 25000;
/** Before each try to connect again; a message that comes starts the list anew. */
const PAUSES_MS = [0, 500, 1000, 2000, 4000, 8000];

/** @typedef {{id: string, data: string}} Message */

/** Puts messages together from pieces of text that end anywhere. */
export class Parser {
  rest = "";
  id = "";
  /** @type {string[]} */
  data = [];

  /** @param {string} piece @returns {Message[]} the messages that are whole now */
  push(piece) {
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop() || "";
    /** @type {Message[]} */
    const whole = [];
    for (const line of lines) {
      if (line.startsWith("id: ")) this.id = line.slice(4);
      else if (line.startsWith("data: ")) this.data.push(line.slice(6));
      else if (!line && this.data.length) {
        whole.push({ id: this.id, data: this.data.join("\n") });
        this.data = [];
      }
    }
    return whole;
  }
}

/** The address of a stream: beside the page's files. @param {string} name */
export const streamAddress = (name) => new URL(`../../streams/${name}`, import.meta.url).href;

const later = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Reads until `take` says that it has all, and connects again where it breaks off.
 * @param {string} address
 * @param {(data: any) => boolean} take what is done with each message's data; true when nothing more is wanted
 * @param {{signal?: AbortSignal, pauses?: number[], silence?: number, get?: typeof fetch,
 *   position?: {last: string}}} [options]
 *   `position`: behind which message it begins, and where it has come to
 * @returns {Promise<string>} "done"; "left" where `signal` ended it; "lost" where no try to connect brought anything;
 *   else the sentence with which the app refused
 */
export const readStream = async (address, take, options = {}) => {
  const { signal, pauses = PAUSES_MS, silence = SILENCE_MS, get = fetch, position = { last: "" } } = options;
  for (let tries = 0; tries < pauses.length; tries += 1) {
    await later(pauses[tries]);
    if (signal?.aborted) return "left";
    const parser = new Parser();
    const broken = new AbortController();
    const timer = { id: setTimeout(() => broken.abort(), silence) };
    try {
      const signals = AbortSignal.any([broken.signal, ...(signal ? [signal] : [])]);
      const answer = await get(address, {
        signal: signals,
        headers: position.last ? { "last-event-id": position.last } : {},
      });
      if (!answer.ok && answer.status < 500) return (await answer.text()) || String(answer.status);
      const reader = answer.ok && answer.body ? answer.body.pipeThrough(new TextDecoderStream()).getReader() : null;
      for (;;) {
        const { value, done } = reader ? await reader.read() : { value: "", done: true };
        if (done) break;
        clearTimeout(timer.id);
        timer.id = setTimeout(() => broken.abort(), silence);
        for (const message of parser.push(value)) {
          position.last = message.id || position.last;
          tries = 0;
          if (take(JSON.parse(message.data))) {
            broken.abort();
            return "done";
          }
        }
      }
    } catch {
      if (signal?.aborted) return "left";
    } finally {
      clearTimeout(timer.id);
    }
  }
  return "lost";
};
