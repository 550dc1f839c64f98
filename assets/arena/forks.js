/* A comparison that goes on from tokens of another one. Knows traces, not the page. */

/** A lane's settings as a request takes them. */
const laneValue = ({ name, strategy, ...values }) => {
  const { id, model, ...rest } = values;
  return { name, strategy, ...rest };
};

const logprobOf = (token, id) => {
  const row = token.a.find((item) => item[0] === id);
  return row ? row[1] : token.l;
};

/**
 * All lanes, or only this one, go on from the first `index` tokens of `lane` as it was after `at` steps, and then `id`.
 * @returns {[any, any]} the request, and what the run goes on from
 */
export const forkOf = (trace, lane, at, index, id, only) => {
  const { meta } = trace;
  const view = lane.view(at === null ? lane.length : at);
  const prefix = view.slice(0, index).map((token) => ({ ...token, forked: token.forked || false }));
  const name = trace.name(lane.info.model, id);
  prefix.push({ ...view[index], i: id, s: name, forked: true, l: logprobOf(view[index], id) });
  const models = meta.models.map((model) => model.id);
  const request = {
    model_ids: only ? [models[lane.info.model]] : models,
    prompt: meta.prompt,
    prefix_ids: prefix.map((token) => token.i),
    settings: { ...meta.settings, lanes: only ? [laneValue(lane.info)] : meta.settings.lanes.map(laneValue) },
  };
  return [request, { prefix, only: only ? lane.info.id : null, model: only ? lane.info.model : null }];
};
