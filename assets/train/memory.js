/* Memory as bars, one scale for all: what was predicted, part by part, and what was measured. */
import { bytes, bytesForetold } from "../lib/format.js";
import { h } from "../lib/view.js";
import { t } from "../lib/words.js";

const PARTS = ["runtime", "weights", "gradients", "subspace", "moments", "activations", "logits", "other"];

/** @param {{predicted?: any, measured?: any, adamw_total?: number, rough?: boolean}} memory */
export const memoryBars = ({ predicted = {}, measured, adamw_total: adamw, rough }) => {
  const most = Math.max(predicted.total || 0, measured?.total || 0, 1);
  const bar = (name, size, kind = "", say = bytesForetold) =>
    h(
      "div",
      {},
      h("span", {}, name),
      h(
        "span",
        { class: "track" },
        h("i", { class: kind, style: `width:${Math.max(0.5, (100 * size) / most).toFixed(1)}%` }),
      ),
      h("em", {}, say(size)),
    );
  const said = [
    t("mem_predicted", { n: bytesForetold(predicted.total) }),
    predicted.apart ? t("mem_apart", { n: bytes(predicted.apart) }) : null,
    adamw ? t("train_adamw_would", { need: bytesForetold(adamw) }) : null,
    rough ? t("mem_rough") : null,
  ];
  return h(
    "div",
    { class: "ledger" },
    PARTS.filter((part) => predicted[part]).map((part) => bar(t(`mem_${part}`), predicted[part])),
    measured?.total ? bar(t("mem_measured"), measured.total, "m", bytes) : null,
    h("p", { class: "cap block" }, said.filter(Boolean).join(" · ")),
  );
};
