/* Figures over time: which names are shown, where points stand, which charts there are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dotted } from "../../assets/lib/chart/lines.js";
import { chartsOf, lineOf, timeName, topNames, trainedParts } from "../../assets/serving/monitor.js";

const NOW = 1_800_000_000;
const point = (at, more = {}) => ({
  at,
  seconds: 300,
  requests: 4,
  outcomes: { answered: 4 },
  tokens: 40,
  first: { p50: 0.1, p95: 0.2, p99: 0.3 },
  each: null,
  queued: 0,
  length: 10,
  repetition: 0.1,
  surprise: 3,
  confidence: null,
  up: 0,
  down: 0,
  right: 0,
  labelled: 0,
  languages: { en: 1 },
  topics: {},
  classes: {},
  ...more,
});

test("the names shown are the largest by requests, not by points", () => {
  const points = [
    point(0, { requests: 1, languages: { de: 1 } }),
    point(300, { requests: 1, languages: { de: 1 } }),
    point(600, { requests: 10, languages: { en: 0.9, fr: 0.1 } }),
  ];
  assert.deepEqual(topNames(points, "languages", 2), ["en", "de"]);
});

test("a point stands at the end of its stretch, in minutes before now, and unknown values are left out", () => {
  const points = [point(NOW - 900), point(NOW - 200, { surprise: null }), point(NOW - 100)];
  const line = lineOf(points, NOW, (each) => each.surprise, {});
  assert.deepEqual(line.x, [-10, 0]);
  assert.deepEqual(line.y, [3, 3]);
});

test("a chart without figures is not drawn, and the training data's surprise is a line of its own", () => {
  const version = { points: [point(NOW - 900), point(NOW - 300)], training: { surprise: 2.5 } };
  const charts = chartsOf(version, NOW);
  const keys = charts.map((chart) => chart.key);
  assert.deepEqual(keys, ["requests", "tokens", "first", "length", "repetition", "surprise", "languages"]);
  assert.deepEqual(charts.find((chart) => chart.key === "surprise").lines[1].y, [2.5, 2.5]);
  assert.equal(charts.find((chart) => chart.key === "first").lines.length, 3);
  const untrained = chartsOf({ ...version, training: null }, NOW);
  assert.equal(untrained.find((chart) => chart.key === "surprise").lines.length, 1);
});

test("a period of a day is told in hours, a longer one in days", () => {
  assert.match(timeName(-30, NOW, 3600), /:/);
  assert.doesNotMatch(timeName(-30, NOW, 7 * 86_400), /:/);
});

test("training data that is not here is no heading over nothing", () => {
  const none = { surprise: null, languages: {}, topics: {}, classes: {}, p: null };
  assert.deepEqual(trainedParts(none), []);
  assert.deepEqual(trainedParts(null), []);
  assert.equal(trainedParts({ ...none, languages: { en: 1 } }).length, 1);
  const mix = { en: 0.99, pcm: 0.006, la: 0.003 };
  assert.deepEqual(trainedParts({ ...none, topics: mix }), ["en 99\u00a0%"]); // the others are a detector's slips
});

test("the first point of a line is seen", () => {
  const line = (x, more) => ({ name: "", color: "", x, y: x, ...more });
  assert.deepEqual(
    dotted([line([0]), line([0, 1]), line([0, 1], { dots: true })]).map(({ x }) => x.length),
    [1, 2],
  );
});
