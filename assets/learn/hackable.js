/* A reward that is won without right answers: brevity alone. What a run of it is set to; the form takes it as a
   whole. */

/**
 * Full reward for at most 20 tokens, none from 40 on, where a right answer of the sample takes some 28; held-out
 * answers are checked for being exactly right beside it.
 */
export const HACKABLE = {
  task: "grpo",
  reward: "length",
  reward_tokens: 20,
  second_reward: "none",
  held_out_check: "exact",
  max_steps: 24,
  eval_steps: 6,
  max_new_tokens: 40,
  kl_weight: 0,
  kl_limit: 0, // it strays far: the usual limit would end the run before the check is measured again
};
