/* What a run will take, as the form tells it before the start: one line, and the memory as bars. */
import { bytes, bytesForetold, h, int, notice, t, timeRange } from "../lib/panel.js";
import { memoryBars } from "./memory.js";

const needOf = (ledger) => bytesForetold(ledger.needed || ledger.predicted.total || 0);

/** The line below the form. @param {any} config @param {string} method @param {string} task @param {any} predicted */
export const summaryLine = (config, method, task, predicted) => {
  const { ledger, seconds } = predicted;
  const records = int(config.batch_size * (config.gradient_accumulation_steps || 1));
  const parts = [t(`task_${task}`), t("train_summary", { steps: int(config.max_steps), batch: records })];
  parts.push(seconds ? timeRange(predicted) : t("train_time_later"));
  if (ledger) parts.push(t("train_needs", { need: needOf(ledger), free: bytes(ledger.available) }));
  if (ledger?.adamw_total && method !== "adamw")
    parts.push(t("train_adamw_would", { need: bytesForetold(ledger.adamw_total) }));
  return h("p", { class: "soft summary", role: "status" }, parts.join(" · "));
};

/** @param {any} ledger what the app predicts, or nothing yet */
export const memoryForecast = (ledger) => {
  if (!ledger) return null;
  const much = { message: t("train_too_much", { need: needOf(ledger), free: bytes(ledger.available) }) };
  return [ledger.fits === false ? notice(much) : null, memoryBars(ledger)];
};
