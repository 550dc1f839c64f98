"""What a run's defaults are by task and method, where they differ from the fields' own of settings.training.TrainConfig."""

from typing import Any

_HIGH_THEN_DOWN = {"scale": 4.0, "schedule": "warmup_stable_decay"}
PRETRAIN_RATES = {
    "1M": 4e-3,
    "3M": 2.7e-3,
    "10M": 1.6e-3,
    "30M": 1e-3,
    "60M": 1e-3,
    "130M": 6.7e-4,
    "350M": 5e-4,
    "1B": 2.5e-4,
}
"""AdamW's highest rate in pretraining by the new model's size, for whole matrices and for factors: 1e-3 at a width of 512
and inversely as the width, as muP has it for matrices that Adam learns (arXiv 2203.03466). Pythia's rates at widths of 512,
768, 1024 and 2048 are 1e-3, 6e-4, 3e-4 and 3e-4 (arXiv 2304.01373). GaLore's is the same at every size: 0.01 at a scale of
0.25 in its authors' runs from 60M to 1B (github.com/jiaweizzhao/GaLore, scripts/benchmark_c4)."""
METHOD_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "chat": {
        "galore": {"learning_rate": 4e-5, **_HIGH_THEN_DOWN},
        "adamw": {"learning_rate": 1e-4},
        "lora": {"learning_rate": 5e-4},
    },
    "text": {
        "galore": {"learning_rate": 1e-4, "scale": 4.0},
        "adamw": {"learning_rate": 1e-4},
        "lora": {"learning_rate": 5e-4},
    },
    "classify": {
        "galore": {"learning_rate": 1e-4, "scale": 4.0},
        "adamw": {"learning_rate": 1e-4},
        "lora": {"learning_rate": 5e-4},
    },
    "kto": {
        "galore": {"learning_rate": 1e-5, "scale": 4.0},
        "adamw": {"learning_rate": 1e-5},
        "lora": {"learning_rate": 5e-5},
    },
    "reward": {
        "galore": {"learning_rate": 4e-5, "scale": 4.0},
        "adamw": {"learning_rate": 5e-5},
        "lora": {"learning_rate": 5e-4},
    },
    "pretrain": {
        "galore": {"learning_rate": 1e-2, "scale": 0.25, "schedule": "cosine"},
        "adamw": {"learning_rate": PRETRAIN_RATES["1M"], "schedule": "cosine"},
        "lora": {"learning_rate": 5e-4},
    },
    "preference": {
        "galore": {"learning_rate": 1e-5, "scale": 4.0},
        "adamw": {"learning_rate": 1e-5},
        "lora": {"learning_rate": 5e-5},
    },
    "grpo": {
        "galore": {"learning_rate": 1e-5, "scale": 4.0, "schedule": "constant"},
        "adamw": {"learning_rate": 1e-5, "schedule": "constant"},
        "lora": {"learning_rate": 1e-4, "schedule": "constant"},
    },
}
"""The defaults of a task and method; where they say nothing: scale 1 and a linear schedule.

tests/benchmarks/sweep_defaults.py found those of chat: with scale 4 the projected matrices learn four times as fast as the
embeddings, which AdamW's rate suits, and a rate that stays high before it falls learns an exact form of answer in fewer
steps. sweep_tasks.py found those of the other tasks, on held-out records in several orders."""
OTHERWISE: dict[str, Any] = {"scale": 1.0, "schedule": "linear"}


def of_run(task: str, method: str, model_size: str) -> dict[str, Any]:
    """The defaults of a run with these settings, by the fields' names."""
    rate = {"learning_rate": PRETRAIN_RATES[model_size]} if (task, method) == ("pretrain", "adamw") else {}
    return OTHERWISE | METHOD_DEFAULTS[task][method] | rate


TASK_DEFAULTS: dict[str, dict[str, Any]] = {
    "text": {"batch_size": 4, "max_steps": 24, "eval_records": 16, "eval_steps": 12, "packing": True},
    "classify": {
        "batch_size": 32,
        "max_steps": 128,
        "max_length": 128,
        "least_loss": 0.01,
        "eval_share": 0.2,
        "eval_records": 200,
        "eval_steps": 64,
    },
    "preference": {"batch_size": 4, "max_steps": 16, "max_length": 384, "eval_records": 16, "eval_steps": 8},
    "kto": {"batch_size": 8, "max_steps": 32, "max_length": 384, "eval_records": 32, "eval_steps": 8},
    "reward": {"batch_size": 8, "max_steps": 60, "max_length": 384, "eval_records": 64, "eval_steps": 20},
    "grpo": {
        "batch_size": 2,
        "gradient_accumulation_steps": 4,
        "max_steps": 60,
        "max_length": 384,
        "warmup_steps": 2,
        "eval_steps": 10,
    },
    "pretrain": {
        "batch_size": 4,
        "max_steps": 700,
        "max_length": 128,
        "rank": 32,
        "packing": True,
        "warmup_steps": 20,
        "eval_records": 32,
        "eval_steps": 70,
    },
}
"""Where a task's defaults differ from the fields' own, which are those of chat."""
