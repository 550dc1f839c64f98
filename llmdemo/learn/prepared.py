"""The runs that lessons show: what each is set to. They are made once and kept. Knows no page and no data set."""

FIRST_RUN = "Start here"
FIRST = {
    "max_steps": 12,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "warmup_steps": 2,
    "max_length": 128,
    "eval_records": 4,
    "eval_steps": 12,
    "publish_dtype": "float32",
}
"""Short, yet the answer's form changes: some 4,000 tokens, held-out loss 2.6 → 0.2."""
_SHORT = {"batch_size": 4, "max_length": 128, "eval_records": 8, "warmup_steps": 2, "learning_rate": 1e-4}
_FACTS = {**_SHORT, "max_steps": 32, "eval_share": 0.0, "schedule": "constant"}
_ANSWERS = {**_SHORT, "max_steps": 16, "eval_steps": 8}
_PRESSED = {
    "task": "grpo",
    "reward": "length",
    "reward_tokens": 20,
    "held_out_check": "exact",
    "max_steps": 6,
    "batch_size": 4,
    "gradient_accumulation_steps": 1,
    "rollouts": 4,
    "max_new_tokens": 40,
    "max_length": 128,
    "learning_rate": 1e-4,
    "eval_records": 8,
    "eval_steps": 3,
    "warmup_steps": 1,
    "kl_weight": 0.0,
    "kl_limit": 0.0,
    "best_by": "last",
}
"""Brevity alone is rewarded: an answer of the right form has some 28 tokens, the whole reward is given to 20."""
RACES: dict[str, dict[str, dict]] = {
    "instructions": {"response": {**_ANSWERS, "loss_on": "response"}, "all": {**_ANSWERS, "loss_on": "all"}},
    "facts": {"known": {**_FACTS, "file": "facts-known"}, "new": {**_FACTS, "file": "facts-new"}},
    "hacking": {"pressed": _PRESSED},
}
"""Settings of the runs of each kind, by name; "file": data of assets/learn instead of the visitor's."""
