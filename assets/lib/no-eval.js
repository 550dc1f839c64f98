/* Makes the functions that Gradio makes of text, of the few texts that this page has, without evaluating any: so its
   Content-Security-Policy needs no 'unsafe-eval'. A classic script, which runs before Gradio's own
   (llmdemo/ui/content_policy.py). A text of another shape goes to the browser, whose policy refuses it.
   Later versions of Gradio may bring other shapes: until they are tried the policy lets text be evaluated. */
{
  /** @type {any} */
  const page = window;

  /* The texts of islands (llmdemo/ui/bridge.py) and of downloads (llmdemo/ui/downloads.py), as Gradio hands them over,
     and what they do. */
  const MOUNT = `(window.llmdemoIslands ||= []).push(
  {name: "NAME", el: element.firstElementChild || element, props, trigger, server, watch});  // events: EVENTS`;
  const PRESS = `return (\n() => setTimeout(() => document.getElementById("NAME")?.click(), 300)\n);`;
  const shapeOf = (text) => {
    const exact = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return new RegExp(`^${exact.replace("NAME", "([a-z-]+)").replace("EVENTS", ".*")}$`);
  };
  const mount = (name) => (element, trigger, props, server, _upload, watch) => {
    const el = element.firstElementChild || element;
    (page.llmdemoIslands = page.llmdemoIslands || []).push({ name, el, props, trigger, server, watch });
  };
  const press = (id) => () => setTimeout(() => document.getElementById(id)?.click(), 300);

  /** @type {[RegExp, (found: string) => Function][]} */
  const SHAPES = [
    [/^ {2}return ("(?:[^"\\\n]|\\.)*");\n$/, (text) => () => JSON.parse(text)], // Handlebars, of a gr.HTML's template
    [/^return `([^`\\$]*)`;$/, (text) => () => text], // gr.HTML, of what that gave
    [shapeOf(MOUNT), mount], // its js_on_load
    [shapeOf(PRESS), (id) => async () => press(id)], // an event's js
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
