/* Figures of what is served over time, a version at a time, as charts on one axis: drawn inside of the serving box,
   which asks the app. */
import { plots } from "../lib/chart/lines.js";
import { ask as call, h, int, inUnits, labelled, lang, menu, notice, num, percent, t } from "../lib/panel.js";

const HOUR = 3600;
/** What a menu of periods names, in seconds; 0: all there is. */
export const PERIODS = { hour: HOUR, day: 24 * HOUR, week: 7 * 24 * HOUR, month: 30 * 24 * HOUR, all: 0 };
const COLORS = ["var(--greedy)", "var(--topk)", "var(--topp)", "var(--beam)", "var(--ink)", "var(--soft)"];
const MOST_NAMES = 4;
const EDGE = "var(--edge)";
const PERCENTILES = ["p50", "p95", "p99"];
const BAD = ["refused", "failed", "left"];

/** A version's key in the menu. */
export const keyOf = (one) => `${one.name}\n${one.model_id}`;

/** The names with the largest share over all points, weighed by requests. @param {any[]} points @param {string} mix */
export const topNames = (points, mix, most = MOST_NAMES) => {
  const sums = new Map();
  for (const point of points)
    for (const [name, share] of Object.entries(point[mix] || {}))
      sums.set(name, (sums.get(name) || 0) + share * (point.requests || 1));
  return [...sums.entries()]
    .sort((a, b) => b[1] - a[1])
    .slice(0, most)
    .map(([name]) => name);
};

/** One line of a chart, of the points where it is known. `of`: a point's value, or null. */
export const lineOf = (points, now, of, options) => {
  const known = points.filter((point) => of(point) !== null && of(point) !== undefined);
  return {
    x: known.map((point) => (Math.min(now, point.at + point.seconds) - now) / 60),
    y: known.map(of),
    ...options,
  };
};

/** What a point of minutes before `now` is called: the time of a day, or the day. */
export const timeName = (minutes, now, seconds) => {
  const date = new Date((now + minutes * 60) * 1000);
  /** @type {any} */
  const wanted =
    seconds && seconds <= 24 * HOUR ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric" };
  return date.toLocaleString(lang, wanted);
};

const language = (code) => {
  try {
    return code === "und" ? t("monitor_und") : new Intl.DisplayNames([lang], { type: "language" }).of(code) || code;
  } catch {
    return code;
  }
};

/** The charts of one version. @param {any} version @param {number} now */
export const chartsOf = (version, now) => {
  const { points, training } = version;
  const line = (of, name, i, more = {}) =>
    lineOf(points, now, of, { name, short: name, color: COLORS[i % COLORS.length], ...more });
  const single = (key, of) => [{ ...line(of, t(`monitor_${key}`), 0), short: "" }];
  const chart = (key, lines, yFormat, more = {}) => ({
    key,
    title: t(`monitor_${key}`),
    label: t(`monitor_${key}`),
    lines: lines.filter((each) => each.x.length),
    yFormat,
    ...more,
  });
  const seconds = (v) => inUnits(num(v, 2), "s");
  const ms = (v) => inUnits(num(v * 1000, v < 0.01 ? 1 : 0), "ms");
  const latency = (key) => PERCENTILES.map((p, i) => line((point) => point[key]?.[p] ?? null, p, i));
  const level = (value) => ({
    ...lineOf(points, now, () => value, { name: t("monitor_training"), short: t("monitor_training"), color: EDGE }),
    dash: "4 4",
  });
  const mix = (key, say) =>
    topNames(points, key).map((name, i) =>
      line((point) => (point.requests ? point[key]?.[name] || 0 : null), say(name), i),
    );
  const asked = (point) => (point.requests ? point : null);
  const bad = BAD.map((name, i) => line((point) => point.outcomes[name] || 0, t(`monitor_${name}`), i));
  const surprise = line((point) => point.surprise, t("monitor_prompts"), 0);
  const trained = training?.surprise !== null && training?.surprise !== undefined;
  const thumbs = ["up", "down"].map((name, i) => line((point) => point[name], t(`monitor_${name}`), i));
  const right = single("right", (point) => (point.labelled ? point.right / point.labelled : null));
  const some = (lines) => (lines.some((each) => each.y.some((v) => v > 0)) ? lines : []);
  return [
    chart(
      "requests",
      single("requests", (point) => point.requests),
      int,
      { limits: [0, 1] },
    ),
    chart("tokens", some(single("tokens", (point) => point.tokens)), int),
    chart("first", latency("first"), seconds),
    chart("each", latency("each"), ms),
    chart("problems", some(bad), int),
    chart("queue", some(single("queue", (point) => point.queued)), int),
    chart(
      "length",
      single("length", (point) => asked(point)?.length ?? null),
      (v) => num(v, 0),
    ),
    chart(
      "repetition",
      single("repetition", (point) => point.repetition),
      percent,
    ),
    chart("surprise", trained && surprise.x.length ? [surprise, level(training.surprise)] : [surprise], (v) =>
      num(v, 2),
    ),
    chart(
      "confidence",
      single("confidence", (point) => point.confidence),
      percent,
    ),
    chart("right", right, percent),
    chart("thumbs", some(thumbs), int),
    chart("languages", mix("languages", language), percent),
    chart(
      "topics",
      mix("topics", (name) => (name === "–" ? t("monitor_no_topic") : name)),
      percent,
    ),
    chart(
      "classes",
      mix("classes", (name) => name),
      percent,
    ),
  ].filter((each) => each.lines.length);
};

/* The mix of a version's training data, in words, without what is under 1 % of it, mostly wrong guesses:
   "English 92 %, German 8 %". */
const mixTold = (shares, say) =>
  Object.entries(shares || {})
    .filter(([, share]) => share >= 0.01)
    .slice(0, MOST_NAMES)
    .map(([name, share]) => `${say(name)} ${percent(share)}`)
    .join(", ");

/** What the training data was like, in words; none where it is not here, or not measured yet. @param {any} training */
export const trainedParts = (training) =>
  training
    ? [
        training.surprise === null ? "" : t("monitor_trained_surprise", { nats: num(training.surprise, 2) }),
        mixTold(training.languages, language),
        mixTold(training.topics, (name) => name),
        mixTold(training.classes, (name) => name),
      ].filter(Boolean)
    : [];

/** One fold of the box. @param {any} server @param {() => void} draw */
export const makeMonitor = (server, draw) => {
  const view = { open: false, period: "day", key: "", known: null, error: null, busy: false };
  const look = async () => {
    if (view.busy) return;
    view.busy = true;
    const { period } = view;
    const answer = await call(server, "serving_monitor", { seconds: PERIODS[period] });
    Object.assign(view, { busy: false, error: answer.error || null });
    if (period !== view.period) return look(); // another one was chosen meanwhile
    if (!answer.error) view.known = answer;
    draw();
  };
  const named = (one) =>
    one.name ? `${one.name === "arena" ? t("monitor_arena") : one.name} · ${one.title}` : t("monitor_unknown");
  const pick = (word, options, value, set) =>
    labelled(t(word), menu({ options, value, "data-key": word, onchange: set }));
  const alarms = (one) =>
    ["drift", "class_drift", "confidence_drift"]
      .filter((kind) => one[kind]?.alarm_at)
      .map((kind) => notice({ message: t(`monitor_${kind}`, { n: int(one[kind].alarm_at) }), hint: "" }));
  const trained = ({ training }) => {
    const parts = trainedParts(training);
    if (!parts.length) return h("p", { class: "soft print" }, t("monitor_no_training"));
    const apart = training.p !== null && training.p < 0.001 ? h("p", { class: "print" }, t("monitor_apart")) : null;
    return [h("p", { class: "soft print" }, `${t("monitor_trained")} ${parts.join(" · ")}`), apart];
  };
  const whole = () => {
    const { versions, now, running, queued } = view.known;
    const one = versions.find((each) => keyOf(each) === view.key) || versions[0];
    const periods = Object.keys(PERIODS).map((period) => [period, t(`monitor_${period}`)]);
    const controls = h(
      "div",
      { class: "serveform" },
      one
        ? pick(
            "monitor_version",
            versions.map((each) => [keyOf(each), named(each)]),
            keyOf(one),
            (key) => {
              view.key = key;
              draw();
            },
          )
        : null,
      pick("monitor_period", periods, view.period, (period) => {
        view.period = period;
        look();
      }),
    );
    if (!one) return [controls, h("p", { class: "soft print" }, t("monitor_none"))];
    const xFormat = (minutes) => timeName(minutes, now, PERIODS[view.period]);
    return [
      controls,
      h("p", { class: "soft print" }, t("monitor_now", { running: int(running), queued: int(queued) })),
      one.name ? alarms(one) : null,
      h("p", { class: "print" }, t("monitor_requests")),
      plots(chartsOf(one, now), { xFormat, label: t("monitor_title"), ticks: 3 }),
      one.name ? trained(one) : null,
      h("p", { class: "soft print" }, t("monitor_about")),
    ];
  };
  const toggle = (event) => {
    if (view.open === event.target.open || !event.target.classList.contains("monitor")) return;
    view.open = event.target.open;
    if (view.open) look();
  };
  return {
    look: () => (view.open ? look() : undefined),
    draw: () =>
      h(
        "details",
        { class: "monitor", open: view.open, ontoggle: toggle, "data-key": "monitor" },
        h("summary", {}, t("monitor_title")),
        notice(view.error),
        view.open && view.known ? h("div", { "data-key": "monitor-whole" }, whole()) : null,
      ),
  };
};
