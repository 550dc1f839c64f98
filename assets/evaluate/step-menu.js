/* Which step of a model's training is evaluated: the kept ones of its run, or the finished model. */
import { partsOf } from "../lib/kept-steps.js";
import { t } from "../lib/panel.js";
import { int } from "../lib/format.js";

/** The model of the menu that an id names, at whatever step; undefined without one. */
export const modelOf = (models, id) => {
  const { id: own, step } = partsOf(id);
  return models.find((model) => model.id === own && (step === null || (model.steps || []).includes(step)));
};

/** [[id, words], …] of a model's steps, the finished one first; [] for a model without kept steps. */
export const stepsOf = (model) =>
  model?.steps?.length
    ? [
        [model.id, t("eval_step_end")],
        ...model.steps.map((step) => [`${model.id}@${step}`, t("eval_step_at", { step: int(step) })]).reverse(),
      ]
    : [];

/** What is compared with `first` when the model `id` is chosen: of the same run another step, its first. */
export const besideFirst = (models, first, id) => {
  if (id !== first) return id;
  const { steps } = modelOf(models, id) || {};
  return steps?.length ? `${partsOf(id).id}@${steps[0]}` : "";
};
