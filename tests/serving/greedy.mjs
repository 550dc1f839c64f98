/* node greedy.mjs ASKED.json: what llama.cpp says to prompts of token ids, always the likeliest token.
   ASKED: {files: [{file, exact}], prompts: [[id]], texts: [text], most, ends: [id], threads}; exact: keys and values in
   32 bits and no flash attention, as llama.cpp's own defaults round both to 16. Prints a line for each file,
   {tokens: [[id]], ids: [[id]]}: what it says, and into which tokens it cuts the texts. Run in a folder whose
   node_modules hold node-llama-cpp. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.cwd()}/`).resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(found).href);
const { files, prompts, texts, most, ends, threads } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads });
const wide = { flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" };
for (const { file, exact } of files) {
  const model = await llama.loadModel({ modelPath: file });
  const contextSize = Math.min(2048, model.trainContextSize);
  const context = await model.createContext({ contextSize, threads, ...(exact ? wide : {}) });
  const sequence = context.getSequence();
  const tokens = [];
  for (const prompt of prompts) {
    await sequence.clearHistory();
    const said = [];
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
      said.push(token);
      if (said.length >= most || ends.includes(token)) break;
    }
    tokens.push(said);
  }
  console.log(JSON.stringify({ tokens, ids: texts.map((text) => model.tokenize(text, true)) }));
  await model.dispose();
}
await llama.dispose();
