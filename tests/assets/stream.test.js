import assert from "node:assert/strict";
import test from "node:test";
import { Parser, readStream } from "../../assets/lib/stream.js";

/* A server that answers each request with the next of `answers`: pieces of text, then the end, or a break. */
const server = (...answers) => {
  const asked = [];
  const get = async (_, { headers, signal }) => {
    asked.push(headers["last-event-id"] || "");
    const { pieces = [], broken = false, status = 200, silent = false } = answers.shift() || { status: 503 };
    const body = new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
        if (silent) signal.addEventListener("abort", () => controller.error(new Error("aborted")));
        else if (broken) setTimeout(() => controller.error(new Error("broken")));
        else controller.close();
      },
    });
    return new Response(body, { status });
  };
  return { asked, get, pauses: [0, 0, 0] };
};
const message = (id, ...events) => `id: ${id}\ndata: ${JSON.stringify(events)}\n\n`;
const reading = async (options, last = "z") => {
  const got = [];
  const how = await readStream("/x", (events) => got.push(...events) && events.includes(last), options);
  return [how, got.join("")];
};

test("a message is whole at its empty line, wherever its pieces end", () => {
  const parser = new Parser();
  const text = `: here\n\n${message(1, "a\nb", "天")}data: []\n\n`;
  const found = Array.from(text).flatMap((letter) => parser.push(letter));
  assert.deepEqual(found, [
    { id: "1", data: JSON.stringify(["a\nb", "天"]) },
    { id: "1", data: "[]" },
  ]);
});

test("after a break the stream goes on behind the last message, and none comes twice", async () => {
  const kept = server(
    { pieces: [message(1, "a"), message(2, "b"), 'id: 3\ndata: ["c'], broken: true },
    { pieces: [message(3, "c")] }, // closed in the middle, as a proxy does
    { pieces: [message(4, "z")] },
  );
  assert.deepEqual(await reading(kept), ["done", "abcz"]);
  assert.deepEqual(kept.asked, ["", "2", "3"]);
});

test("a letter of several bytes may end in the next piece", async () => {
  const bytes = new TextEncoder().encode(message(1, "天", "z"));
  const body = new ReadableStream({
    start(controller) {
      bytes.forEach((byte) => controller.enqueue(Uint8Array.of(byte)));
      controller.close();
    },
  });
  assert.deepEqual(await reading({ get: async () => new Response(body) }), ["done", "天z"]);
});

test("what the app refuses is not asked again", async () => {
  const kept = server({ status: 403, pieces: ["Not yours."] }, { pieces: [message(1, "z")] });
  assert.deepEqual(await reading(kept), ["Not yours.", ""]);
});

test("a server that is gone is given up after some tries, one that comes back is not", async () => {
  assert.deepEqual(await reading(server({ broken: true }, { status: 503 })), ["lost", ""]);
  const back = server(
    { broken: true },
    { status: 502 },
    { pieces: [message(1, "a")] },
    {},
    { pieces: [message(2, "z")] },
  );
  assert.deepEqual(await reading(back), ["done", "az"]);
});

test("a connection without even a heartbeat counts as broken", async () => {
  const kept = server({ pieces: [message(1, "a")], silent: true }, { pieces: [message(2, "z")] });
  assert.deepEqual(await reading({ ...kept, silence: 20 }), ["done", "az"]);
});

test("who leaves is heard no more", async () => {
  const leave = new AbortController();
  const kept = server({ pieces: [message(1, "a")], silent: true });
  setTimeout(() => leave.abort(), 20);
  assert.deepEqual(await reading({ ...kept, signal: leave.signal }), ["left", "a"]);
});
