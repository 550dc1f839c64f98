"""What a run is asked to do: one frozen dataclass, checked before anything starts. Imports no torch.

Knows nothing of the model's or the data's sizes; what depends on them is checked by the worker before its first step.
"""

import math
from dataclasses import asdict, dataclass, fields, replace

from llmdemo.data.split import VERSION as SPLIT_VERSION
from llmdemo.errors import UserError

CHOICES = {
    "method": ("galore", "adamw", "lora"),
    "task": ("chat", "text", "classify", "preference"),
    "optim_bits": (32, 8),
    "basis_bits": (32, 8),
    "loss_on": ("response", "all"),
    "precision": ("auto", "fp32", "bf16", "bf16_pure"),
    "proj_type": ("std", "reverse_std", "left", "right", "full"),
    "refresh": ("power", "random", "svd"),
    "galore_optimizer": ("adamw", "adafactor"),
    "schedule": ("linear", "cosine", "constant", "warmup_stable_decay"),
    "log_with": ("none", "tensorboard", "trackio"),
    "class_weights": ("none", "balanced"),
    "preference_loss": ("dpo", "ipo", "robust"),
    "publish_dtype": ("auto", "float32", "bfloat16"),
}

_HIGH_THEN_DOWN = {"scale": 4.0, "schedule": "warmup_stable_decay"}
METHOD_DEFAULTS = {
    "chat": {
        "galore": {"learning_rate": 4e-5, **_HIGH_THEN_DOWN},
        "adamw": {"learning_rate": 5e-5},
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
    "preference": {
        "galore": {"learning_rate": 1e-5, "scale": 4.0},
        "adamw": {"learning_rate": 1e-5},
        "lora": {"learning_rate": 5e-5},
    },
}
"""What a task and method start from where a config says nothing; else scale 1 and a linear schedule.

tests/benchmarks/sweep_defaults.py found those of chat: with scale 4 the projected matrices learn four times as fast as the
embeddings, which AdamW's rate suits, and a rate that stays high before it falls learns an exact form of answer in fewer
steps. sweep_tasks.py found those of the other tasks, on held-out records in several orders."""
_OTHERWISE = {"scale": 1.0, "schedule": "linear"}
TASK_DEFAULTS = {
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
}
"""Where a task's defaults differ from the fields' own, which are those of chat."""


@dataclass(frozen=True)
class TrainConfig:
    """A run's settings. Every field but dataset_id has a default that works.

    The fields' defaults are those of the task chat; `from_dict` fills in the task's own (TASK_DEFAULTS).
    """

    dataset_id: str
    model_id: str = "starter"
    method: str = "galore"
    """galore: all weights through a low-rank subspace; adamw: all weights; lora: small adapters beside frozen weights."""
    task: str = "chat"
    rank: int = 128
    """Rank of GaLore's subspace or of LoRA's adapters."""
    update_proj_gap: int = 200
    """GaLore: steps between two refreshes of one matrix's subspace."""
    scale: float | None = None
    """GaLore: factor of the projected update (alpha of the paper); LoRA: alpha / rank. None: as METHOD_DEFAULTS says."""
    optim_bits: int = 32
    """Bits of the optimizer's moments."""
    learning_rate: float | None = None
    """Highest learning rate; None: as METHOD_DEFAULTS says."""
    batch_size: int = 8
    """Records of one forward pass, a process."""
    gradient_accumulation_steps: int = 1
    """Forward passes of one optimizer step."""
    max_steps: int = 84
    """Optimizer steps of the run."""
    max_length: int = 512
    """Longest record in tokens; longer ones are cut."""
    loss_on: str = "response"
    precision: str = "auto"
    """bf16: autocast over fp32 weights; bf16_pure: weights and moments in bf16 too, where small updates round away; auto:
    bf16 where the hardware is faster with it, pure where only that fits into a GPU's memory, else fp32."""
    num_processes: int = 1
    seed: int = 7

    proj_type: str = "std"
    """GaLore: which side of a matrix is projected, as galore_torch names it."""
    refresh: str = "power"
    """GaLore: warm power iteration with Cholesky-QR; randomized SVD; or galore_torch's full SVD."""
    stagger: bool = True
    """GaLore: spread the refreshes over the steps; False refreshes all matrices in the same step, as galore_torch does."""
    galore_optimizer: str = "adamw"
    basis_bits: int = 32
    """GaLore: 8 keeps the bases of the subspaces in 8 bits; 32: in the weights' type."""
    offload_gradients: bool = False
    """GaLore on a GPU: keep the sums of projected gradients in the computer's memory rather than the GPU's."""
    target_modules: tuple[str, ...] = ()
    """Parts of module names to project or adapt; empty: all matrices of attention and MLP."""
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    """Global norm to which gradients are clipped; 0: not clipped. GaLore clips what the optimizer sees, the projected ones."""
    warmup_steps: int = 10
    schedule: str | None = None
    """How the rate goes on after the warm-up: down to zero linearly or along a cosine; constant; or constant and then
    linearly down to zero over the last 30 % of the steps (warmup_stable_decay). None: as METHOD_DEFAULTS says."""
    eval_share: float = 0.1
    """Share of the records that is held out, unless the data set has a split of its own."""
    folds: int = 0
    """K-fold cross-validation: parts that the records are dealt into; 0: eval_share or the data set's own split."""
    fold: int = 0
    """The part that this run holds out, from 0."""
    eval_records: int = 32
    """Most held-out records that are evaluated during the run; classify judges all of them at its end."""
    eval_steps: int = 28
    """Steps between two evaluations; the first and the last step are always evaluated. 0: only these."""
    split_version: int = SPLIT_VERSION
    """How held-out records are drawn (data/split.py); kept so that a run goes on with what it held out. 1: before that."""
    packing: bool = False
    """text, chat: several short documents or conversations in one row of max_length, none of which sees another."""
    replay_dataset_id: str = ""
    """text: another data set (chat or text) of which some is mixed in, so that less is forgotten."""
    replay_share: float = 0.0
    """text: share of the training rows that come from the replay data set."""
    forgetting_dataset_id: str = ""
    """text: instruction data on whose held-out part forgetting is measured; empty: the sample that ships; "none": not."""
    class_weights: str = "none"
    """classify: balanced weighs each class by the inverse of its number, as scikit-learn does."""
    least_loss: float = 0.0
    """classify: in a step, texts with a smaller loss than this are read and not learned from; 0: all are. 0.01 is p = 0.99."""
    preference_loss: str = "dpo"
    """preference: dpo (arXiv 2305.18290), ipo (2310.12036), or robust (2403.00409)."""
    beta: float = 0.1
    """preference: how much straying from the starting model costs (tau of IPO)."""
    label_smoothing: float = 0.0
    """preference: share of the pairs that are taken to be the wrong way round; dpo and robust only."""
    checkpoint_seconds: float = 180.0
    activation_checkpointing: bool = False
    compile: bool = False
    """Fuse norms and gated products with torch.compile: pays in long runs on a GPU."""
    publish_dtype: str = "auto"
    """Type of the finished model's weights; auto: that of the base model's files where the held-out loss of the written
    files is measured to stay within 0.5 % of the run's own, else float32."""
    log_with: str = "none"
    """An experiment tracker beside the run's own events; it must be installed."""
    name: str = ""

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """A checked config. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("The config is not an object.", 'Give keys and values, such as {"dataset_id": "…"}.')
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(f"The config has no key {str(unknown[0])[:60]!r}.", f"It has: {', '.join(known)}.")
        if not values.get("dataset_id") or not isinstance(values["dataset_id"], str):
            raise UserError("The config names no dataset_id.", "Upload data first, and take the id that it is given.")
        clean = {key: _typed(key, value, known[key].type) for key, value in values.items() if value is not None}
        config = cls(**{**TASK_DEFAULTS.get(clean.get("task", ""), {}), **clean})
        _check(config)
        return config

    def resolved(self) -> "TrainConfig":
        """The same config with the defaults of its task and method filled in."""
        defaults = _OTHERWISE | METHOD_DEFAULTS[self.task][self.method]
        return replace(self, **{key: value for key, value in defaults.items() if getattr(self, key) is None})

    @property
    def saves_memory(self) -> bool:
        """Whether somebody chose less memory over time."""
        return self.activation_checkpointing or self.optim_bits == 8

    def to_dict(self) -> dict:
        """JSON-able; `from_dict` takes it back."""
        return {**asdict(self), "target_modules": list(self.target_modules)}

    @property
    def global_batch(self) -> int:
        """Records of one optimizer step, over all processes."""
        return self.batch_size * self.gradient_accumulation_steps * self.num_processes


def _typed(key: str, value, kind):
    """`value` as the field's type; whole floats pass as integers, since JSON has one kind of number."""
    kind = {float | None: float, str | None: str}.get(kind, kind)
    if key == "target_modules":
        if isinstance(value, (list, tuple)) and all(isinstance(part, str) and part for part in value):
            return tuple(value)
        raise UserError(f"target_modules is {str(value)[:60]!r}.", "Give a list of parts of module names.")
    if kind is bool and isinstance(value, bool) or kind is str and isinstance(value, str):
        return value
    number = kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and math.isfinite(value) and (kind is float or value == int(value)):
        return kind(value)
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise UserError(f"{key} is {str(value)[:60]!r}.", f"It must be {names[kind]}.")


_RANGES = {
    "rank": (1, 16384),
    "update_proj_gap": (1, 1_000_000),
    "scale": (1e-6, 1000),
    "learning_rate": (1e-9, 10),
    "batch_size": (1, 4096),
    "gradient_accumulation_steps": (1, 4096),
    "max_steps": (1, 1_000_000),
    "max_length": (8, 1_000_000),
    "num_processes": (1, 1024),
    "seed": (0, 2**31 - 1),
    "weight_decay": (0, 10),
    "beta1": (0, 0.9999),
    "beta2": (0, 0.999999),
    "eps": (1e-16, 1),
    "max_grad_norm": (0, 1e9),
    "warmup_steps": (0, 1_000_000),
    "eval_share": (0, 0.5),
    "eval_records": (1, 100_000),
    "split_version": (1, SPLIT_VERSION),
    "folds": (0, 20),
    "fold": (0, 19),
    "eval_steps": (0, 1_000_000),
    "checkpoint_seconds": (1, 1e9),
    "replay_share": (0, 0.9),
    "least_loss": (0, 10),
    "beta": (1e-4, 100),
    "label_smoothing": (0, 0.49),
}


def _check(config: TrainConfig) -> None:
    for key, choices in CHOICES.items():
        value = getattr(config, key)
        if value is not None and value not in choices:
            raise UserError(f"{key} is {str(value)[:60]!r}.", f"It must be one of: {', '.join(map(str, choices))}.")
    for key, (low, high) in _RANGES.items():
        value = getattr(config, key)
        if value is not None and not low <= value <= high:
            raise UserError(f"{key} is {value:g}.", f"It must be from {low:g} to {high:g}.")
    if config.method == "lora" and config.optim_bits == 8:
        raise UserError("8-bit moments are not offered for LoRA.", "Its adapters are small: choose optim_bits 32.")
    if config.galore_optimizer == "adafactor" and config.optim_bits == 8:
        raise UserError("Adafactor has no 8-bit moments.", "Choose optim_bits 32, or galore_optimizer adamw.")
    if config.offload_gradients and config.num_processes > 1:
        raise UserError(
            "offload_gradients keeps gradients where other processes cannot sum them.",
            "Set num_processes to 1, or offload_gradients to false.",
        )
    if config.replay_share and not config.replay_dataset_id:
        raise UserError(f"replay_share is {config.replay_share:g} without a data set.", "Give replay_dataset_id too.")
    if config.preference_loss == "ipo" and config.label_smoothing:
        raise UserError("IPO has no label smoothing.", "Set label_smoothing to 0, or choose the loss dpo or robust.")
    if config.folds == 1 or config.fold >= max(1, config.folds):
        raise UserError(
            f"fold is {config.fold} of folds {config.folds}.",
            "Give folds from 2 to 20 and fold from 0 to folds - 1, or leave both out.",
        )
    if len(config.name) > 120:
        raise UserError(f"The run's name has {len(config.name)} characters.", "At most 120 are kept.")


def check_gpus(config: TrainConfig, gpus: int, here: int | None = None) -> None:
    """Raises UserError where more processes are wanted than the machine has GPUs; without any they share the CPU.

    `here`: the processes of this machine; None: all of the run's.
    """
    if gpus and (here or config.num_processes) > gpus:
        there = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        raise UserError(
            f"num_processes is {config.num_processes}, and there {'is' if gpus == 1 else 'are'} {there}.",
            f"Each process needs a GPU of its own: set num_processes to {gpus} or less, and raise "
            "gradient_accumulation_steps for the same global batch.",
        )


def check_task(config: TrainConfig, entry) -> None:
    """Raises UserError where the model of `entry` (a catalog.ModelEntry) cannot learn the config's task."""
    if config.task != "classify" and not entry.writes:
        kind = "only classifies" if entry.task == "classify" else "is an encoder, which only reads"
        raise UserError(
            f"{entry.title} {kind}; the task {config.task!r} needs a model that writes.",
            "Choose a causal language model, such as Llama, Qwen or GPT-2, or data with labels.",
        )
