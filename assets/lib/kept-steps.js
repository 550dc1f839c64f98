/* The id of a run's model at one of its kept steps, RUN@STEP. Knows no panel. */
const AT = /^(run-[\w-]+)@(\d+)$/;

/** {id, step} of a model's id; step is null for the model itself. @param {string} id */
export const partsOf = (id) => {
  const found = AT.exec(id || "");
  return found ? { id: found[1], step: Number(found[2]) } : { id: id || "", step: null };
};

/** The id of the model at a place in `steps`: past the last kept step, the finished one. */
export const idAt = (id, steps, place) => (place < steps.length ? `${id}@${steps[place]}` : id);
