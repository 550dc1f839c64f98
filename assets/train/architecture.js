/* A picture of a model: its blocks from first to last, each as wide as its share of the weights, and the tensors
   in it. Knows models.architecture's answer and nothing of how it is asked for. */
import { h, int, notice, percent, t } from "../lib/panel.js";

const BLOCKS = ["embedding", "attention", "mlp", "norm", "other", "head"];

/** The blocks in order, with their parts and shares: the layers' blocks stand between embedding and head. */
export const blocksOf = ({ parts, parameters }) =>
  BLOCKS.map((block) => {
    const own = parts.filter((part) => part.block === block);
    const sum = own.reduce((all, part) => all + part.parameters, 0);
    return { block, parts: own, parameters: sum, share: parameters ? sum / parameters : 0 };
  }).filter((each) => each.parts.length);

const percentOf = (share) => percent(share, share < 0.0995 ? 1 : 0);
const times = (shape) => shape.map(int).join(" × ");

/** @param {{title: string, architecture: string, parameters: number, layers: number, tied: boolean,
    parts: any[]}} model */
export const architecture = (model) => {
  const blocks = blocksOf(model);
  const said = t("arch_said", {
    kind: model.architecture,
    parameters: int(model.parameters),
    layers: int(model.layers),
  });
  const bar = ({ block, share }) =>
    h("i", {
      class: `arch-${block}`,
      style: `flex:${Math.max(share, 0.004)}`,
      title: `${t(`arch_${block}`)} ${percentOf(share)}`,
    });
  const part = (each) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, each.name),
      h("td", { class: "n" }, times(each.shape)),
      h("td", { class: "n" }, each.count > 1 ? `× ${int(each.count)}` : ""),
      h("td", { class: "n" }, int(each.parameters)),
      h("td", { class: "n" }, percentOf(each.parameters / model.parameters)),
    );
  return h(
    "figure",
    { class: "arch", "aria-label": said },
    h("figcaption", {}, said, model.tied ? ` ${t("arch_tied")}` : ""),
    h("div", { class: "arch-bar", "aria-hidden": "true" }, blocks.map(bar)),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "group", "aria-label": said },
      h(
        "table",
        { class: "figures-table" },
        blocks.map((block) => [
          h(
            "tbody",
            {},
            h(
              "tr",
              { class: "arch-block" },
              h(
                "th",
                { scope: "rowgroup", colspan: 3 },
                h("i", { class: `arch-key arch-${block.block}` }),
                t(`arch_${block.block}`),
              ),
              h("td", { class: "n" }, int(block.parameters)),
              h("td", { class: "n" }, percentOf(block.share)),
            ),
            block.parts.map(part),
          ),
        ]),
      ),
    ),
  );
};

/** The picture in a fold; `open` asks for the model's parts, which are `known` then. */
export const architectureFold = (id, known, open) =>
  h(
    "details",
    { class: "advanced inside", "data-key": id, ontoggle: open },
    h("summary", {}, t("arch_open")),
    known ? (known.error ? notice(known.error) : architecture(known)) : null,
  );
