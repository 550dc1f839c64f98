import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import vm from "node:vm";

const script = readFileSync(new URL("../../assets/lib/no-eval.js", import.meta.url), "utf8");

// as llmdemo/ui/bridge.py and downloads.py have them
const MOUNT = `(window.llmdemoIslands ||= []).push(
  {name: "data-side", el: element.firstElementChild || element, props, trigger, server, watch});  // events:`;
const PRESS = '() => setTimeout(() => document.getElementById("data-export")?.click(), 300)';

/** A page that has run the script, and whose policy lets nothing be evaluated. */
const page = () => {
  const window = vm.createContext({}, { codeGeneration: { strings: false, wasm: false } });
  vm.runInContext("window = globalThis;", window);
  vm.runInContext(script, window);
  return { window, run: (code) => vm.runInContext(code, window) };
};

test("a template without places is its text, as Handlebars and gr.HTML ask for it", () => {
  const { window, run } = page();
  window.texts = ["container", "depth0", '  return "<div class=\\"island\\">\\n</div>";\n'];
  assert.equal(run("Function.apply(null, texts)()"), '<div class="island">\n</div>');
  window.body = 'return `<div class="island"></div>`;';
  assert.equal(run("Function('value', 'label', body)(1, 2)"), '<div class="island"></div>');
  assert.equal(run("Function('return ``;')()"), "");
});

test("an island is handed over with what Gradio gives for it", () => {
  const { window, run } = page();
  window.body = MOUNT + ' ["submit"]';
  run(
    "Function('element', 'trigger', body)({firstElementChild: 'inner'}, 'trigger', 'props', 'server', 'up', 'watch')",
  );
  const [island] = window.llmdemoIslands;
  assert.deepEqual({ ...island }, { name: "data-side", el: "inner", props: "props", trigger: "trigger", server: "server", watch: "watch" }); // prettier-ignore
});

test("a download is pressed once its address is there", async () => {
  const { window, run } = page();
  const pressed = [];
  Object.assign(window, { setTimeout: (act, wait) => act() && wait });
  Object.assign(window, { document: { getElementById: (id) => ({ click: () => pressed.push(id) }) } });
  window.body = `return (\n${PRESS}\n);`;
  const press = await run("new ((async () => {}).constructor)(body)()");
  assert.equal(press(), 300);
  assert.deepEqual(pressed, ["data-export"]);
});

test("any other text goes to the browser, which refuses it", () => {
  const { window, run } = page();
  const others = [
    "return 1",
    "return `${1}`;",
    "return `\\u0041`;",
    '  return "a"; alert("b");\n',
    'mountIsland("a"); b()',
  ];
  others.push('mountIsland("a");  // events: []\nb()', 'return (\n() => pressDownload("a") || b\n);');
  for (const body of others) {
    window.body = body;
    for (const made of ["Function(body)", "new Function(body)", "new ((async () => {}).constructor)(body)"])
      assert.throws(() => run(made), /Code generation from strings disallowed/, body);
  }
  assert.ok(run("(() => {}) instanceof Function && Function.prototype === Object.getPrototypeOf(() => {})"));
});
