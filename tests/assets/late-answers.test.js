import assert from "node:assert/strict";
import test from "node:test";
import { findings } from "../../assets/data/findings.js";
import { generateState, settle } from "../../assets/data/generate-form.js";
import { knowledgeTool } from "../../assets/data/knowledge.js";
import { mapTool } from "../../assets/data/map.js";
import { recordBox } from "../../assets/data/record.js";
import { makeVersion } from "../../assets/data/tools.js";
import { hear } from "../../assets/lib/api.js";
import { t } from "../../assets/lib/words.js";

/** A panel's state whose questions wait for `answer(name, value)`, which answers the oldest of them. */
const panel = (more) => {
  const asked = [];
  const page = {
    ask: (name, data) => new Promise((give) => asked.push({ name, data, answer: give })),
    fail(error) {
      page.error = error;
      page.draw();
    },
    draw() {},
    ...more,
  };
  const answer = (name, value) => {
    const [one] = asked.splice(
      asked.findIndex((each) => each.name === name),
      1,
    );
    one.answer(value);
    return new Promise((done) => setTimeout(done));
  };
  return { page, asked, answer };
};

/** Every piece of page in what was drawn. */
const pieces = (drawn) =>
  (Array.isArray(drawn) ? drawn : [drawn]).flatMap((each) =>
    each?.props ? [each, ...pieces(each.props.children)] : Array.isArray(each) ? pieces(each) : [],
  );

const RECORD = { kept: true, place: 0, row: 1, turns: [], problems: [] };
const listed = (excerpt) => ({
  records: [{ place: 0, row: 1, kept: true, excerpt, problems: [] }],
  total: 1,
  offset: 0,
  size: 20,
});

test("a list of records that comes after another data set was opened is not shown as that one's", async () => {
  const { page, asked, answer } = panel({ id: "a", view: "list", query: "", record: RECORD, index: 0, total: 1 });
  page.draw = () => void recordBox(page);
  page.draw();
  Object.assign(page, { id: "b", listed: null });
  page.draw();
  assert.deepEqual(
    asked.map(({ data }) => data.dataset_id),
    ["a", "b"],
  );
  await answer("listing", listed("of a"));
  assert.equal(page.listed, null);
  await answer("listing", listed("of b"));
  assert.equal(page.listed.records[0].excerpt, "of b");
  assert.deepEqual(asked, []);
});

test("a list of records that cannot be had is asked for once, not for ever", async () => {
  const { page, asked, answer } = panel({ id: "a", view: "list", query: "", record: RECORD, index: 0, total: 1 });
  page.draw = () => void recordBox(page);
  page.draw();
  await answer("listing", { error: { message: "gone" } });
  assert.equal(page.error.message, "gone");
  assert.deepEqual(asked, []);
});

test("problems of a kind that come after another data set was opened are not told of that one", async () => {
  const report = () => ({
    kinds: ["empty", "short"].map((code) => ({ code, title: code, count: 1 })),
    problems: [],
    total: 0,
    info: { rows: 1, kept: 1, filters: [] },
  });
  const { page, answer } = panel({ id: "a", report: report() });
  const menu = pieces(findings(page)).find(
    ({ type, props }) => type === "select" && props["aria-label"] === t("data_why"),
  );
  menu.props.onchange({ target: { value: "empty" } });
  page.report = report();
  await answer("problems", { problems: [{ code: "empty", row: 7 }], total: 1 });
  assert.deepEqual(page.report.problems, []);
});

test("an older list of probes does not take the place of a newer one", async () => {
  const choices = { models: [{ id: "starter", title: "starter", writes: true }] };
  const { page, asked } = panel({ id: "a", choices, hearJobs() {} });
  const tool = knowledgeTool(page);
  const both = [tool.open(), tool.open()];
  const job = { job_id: "probe-1", state: "running", spec: { dataset_id: "a" }, progress: {} };
  asked[1].answer([job]);
  await both[1];
  asked[0].answer([]);
  await Promise.all(both);
  assert.ok(pieces(tool.draw()).some(({ props }) => props.role === "progressbar"));
});

for (const [name, tool, list] of [
  ["map", mapTool, "list_maps"],
  ["probe", knowledgeTool, "list_probes"],
])
  test(`a ${name} is not offered before it is known whether there is one`, async () => {
    const models = [{ id: "starter", title: "starter", writes: true }];
    const { page, answer } = panel({
      id: "a",
      task: "chat",
      choices: { models, runs: [], map: { model_id: "starter" } },
      hearJobs() {},
      dark: () => false,
    });
    const shown = tool(page);
    const isOffered = () => pieces(shown.draw()).some(({ props }) => props.id === `${name}-start`);
    const opened = shown.open();
    assert.equal(isOffered(), false);
    await answer(list, []);
    await opened;
    assert.equal(isOffered(), true);
  });

test("the first model that comes writes, unless somebody chose who does or wrote of a server", () => {
  const kinds = { magpie: { reads: [], invents: true }, answers: { reads: ["chat"], invents: false } };
  const none = { defaults: { url: "", model: "" }, kinds, models: [], data_sets: [] };
  const starter = { id: "starter", ready: true, writes: true };
  const later = { ...none, models: [starter], data_sets: [{ dataset_id: "set", task: "chat" }] };
  const after = (change) => {
    const state = generateState(none);
    settle(state, none);
    change(state);
    settle(state, later);
    return state;
  };
  assert.deepEqual(
    [() => {}, (state) => (state.picked = true), (state) => (state.spec.url = "http://localhost/v1")].map(
      (change) => after(change).maker,
    ),
    ["starter", "-endpoint-", "-endpoint-"],
  );
  assert.equal(after(() => {}).spec.model_id, "starter");
  assert.equal(after((state) => (state.spec.kind = "answers")).spec.dataset_id, "set");
});

test("a version is made once: not again before it is open, but again where it could not be made", async () => {
  const { page, asked, answer } = panel({ making: false });
  const opened = [];
  hear("data-made", (id) => opened.push(id));
  const press = () => makeVersion(page, "select_records", {});
  const first = press();
  assert.equal(await press(), null);
  await answer("select_records", { error: { message: "too few" } });
  assert.equal((await first).error.message, "too few");
  press();
  await answer("select_records", { dataset_id: "b" });
  assert.equal(await press(), null); // b is made, and is being opened
  page.making = false; // as when a data set is open
  press();
  assert.deepEqual([asked.length, opened], [1, ["b"]]);
});
