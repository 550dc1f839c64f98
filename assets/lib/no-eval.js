/* Makes the functions that Gradio makes of text, of the few texts that this page has, without evaluating any: so its
   Content-Security-Policy needs no 'unsafe-eval'. A classic script, which runs before Gradio's own
   (llmdemo/ui/content_policy.py). A text of another shape goes to the browser, whose policy refuses it.
   tests/browser/test_page.py fails where an upgrade of Gradio brings another shape. */
{
  /** @type {any} */
  const page = window;

  /* What the texts of islands (llmdemo/ui/bridge.py) and of downloads (llmdemo/ui/downloads.py) do. */
  const mount = (name) => (element, trigger, props, server, _upload, watch) => {
    const el = element.firstElementChild || element;
    (page.llmdemoIslands = page.llmdemoIslands || []).push({ name, el, props, trigger, server, watch });
  };
  // the browser gets the file's address a moment after the handler has ended
  const press = (id) => () => setTimeout(() => document.getElementById(id)?.click(), 300);

  /** @type {[RegExp, (found: string) => Function][]} */
  const SHAPES = [
    [/^ {2}return ("(?:[^"\\\n]|\\.)*");\n$/, (text) => () => JSON.parse(text)], // Handlebars, of a gr.HTML's template
    [/^return `([^`\\$]*)`;$/, (text) => () => text], // gr.HTML, of what that gave
    [/^mountIsland\("([a-z-]+)"\); {2}\/\/ events: .*$/, mount], // its js_on_load
    [/^return \(\n\(\) => pressDownload\("([a-z-]+)"\)\n\);$/, (id) => async () => press(id)], // an event's js
  ];

  /** @param {FunctionConstructor} own its like that makes functions of these shapes itself */
  const without = (own) => {
    const make = (self, texts) => {
      const body = String(texts[texts.length - 1]);
      for (const [shape, made] of SHAPES) {
        const found = shape.exec(body);
        if (found) return made(found[1]);
      }
      return Reflect.apply(own, self, texts);
    };
    return new Proxy(own, {
      apply: (_own, self, texts) => make(self, texts),
      construct: (_own, texts) => make(null, texts),
    });
  };
  page.Function = without(Function);
  const { prototype } = /** @type {any} */ (async () => {}).constructor;
  Object.defineProperty(prototype, "constructor", { value: without(prototype.constructor), configurable: true });
}
