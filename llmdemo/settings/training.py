"""The settings of a training run, and how its defaults depend on task and method. Imports no torch.

What depends on the model, the data or the machine is checked in training/, before the first step.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.settings.rewards import CheckedBy, RewardKind, check_rewards
from llmdemo.settings.schema import Setting, check, fields_of, one_of
from llmdemo.settings.training_defaults import TASK_DEFAULTS, of_run

Method = Literal["galore", "adamw", "lora"]
Task = Literal["chat", "text", "classify", "preference", "pretrain", "grpo", "reward", "kto"]
Precision = Literal["auto", "fp32", "bf16", "bf16_pure"]
OWN_FIGURES = {
    "classify": "f1_macro",
    "preference": "reward_accuracy",
    "grpo": "held_out_check",
    "reward": "reward_accuracy",
    "kto": "reward_accuracy",
}
"""By task, its own figure of an evaluation, the higher the better; the other tasks measure none while they train."""
HEADED = ("classify", "reward")
"""Tasks whose model ends in a head of its own in place of the vocabulary's."""
METHODS: tuple[str, ...] = get_args(Method)
TASKS: tuple[str, ...] = get_args(Task)
PRECISIONS: tuple[str, ...] = get_args(Precision)

SPLIT_VERSION = 2
"""How a new run draws its held-out records. A run's config says which one it had (a config without it: 1), so that
runs made before go on, and are evaluated, with the records that they held out."""

LOSSES_AS_TASKS = ("orpo", "simpo")
"""Losses of the task preference that /start_run takes as a task too."""
SIMPO_BETA = 2.0
DAPO_CLIP_HIGH, DAPO_REDRAWS = 0.28, 2
DEFAULTS_BY_LOSS: dict[str, dict[str, dict[str, Any]]] = {
    "preference_loss": {"simpo": {"beta": SIMPO_BETA}},
    "policy_loss": {"dapo": {"clip_high": DAPO_CLIP_HIGH, "redraws": DAPO_REDRAWS}},
}
"""Defaults that come with the value of another setting, in place of the fields' own."""

_GALORE, _LOW_RANK, _CHECKED = ("galore",), ("galore", "lora"), ("grpo",)
_QUANTISABLE: tuple[str, ...] = tuple(task for task in TASKS if task not in _CHECKED)
"""Tasks that keep no second copy of the weights while they train."""


@dataclass(frozen=True)
class TrainConfig:
    """A run's settings. Every field but dataset_id has a default that works.

    The fields' defaults are those of the task chat; `from_dict` fills in the task's own (TASK_DEFAULTS). The fields that
    a form shows are in the form's order.
    """

    dataset_id: str
    """The data set to learn from."""
    model_id: str = "starter"
    """The model to start from."""
    method: Method = "galore"
    """galore: all weights through a low-rank subspace; adamw: all weights; lora: small adapters beside frozen weights."""
    task: Task = "chat"
    """What is learned: answers (chat), raw text, classes, or preferences; it follows from the data set. pretrain: raw text
    by a new model, without a model_id. grpo: to answer a chat data set's prompts so that a checker gives reward. reward: which of
    two answers is preferred, as one number for each (a reward model). kto: answers that are marked as desired or not, each
    for itself; a preference data set's pairs are taken apart."""
    model_size: Annotated[
        Literal["1M", "3M", "10M", "30M", "60M", "130M", "350M", "1B"], Setting(tasks=("pretrain",), form=True)
    ] = "1M"
    """pretrain: the new Llama's shape, named by its weights with a vocabulary of 2,048; from 60M on the GaLore paper's
    shapes, with 32,000."""
    vocabulary_size: Annotated[int, Field(ge=300, le=200_000), Setting("tokens", tasks=("pretrain",), form=True)] = 2048
    """pretrain: tokens of the byte-level BPE tokenizer that is trained on the text, its 256 bytes among them."""
    tokenizer_from: Annotated[str, Field(max_length=500), Setting(tasks=("pretrain",), form=True, widget="model")] = ""
    """pretrain: id of a model whose tokenizer is taken instead; empty: one is trained on the text."""
    factor_rank: Annotated[int, Field(ge=0, le=16384), Setting(tasks=("pretrain",), methods=("adamw",), form=True)] = 0
    """pretrain: the matrices of attention and MLP are products BA of this rank, the low-rank baseline of the GaLore paper;
    0: whole ones."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000), Setting("steps", form=True)] = 84
    """Optimizer steps of the run."""
    batch_size: Annotated[int, Field(ge=1, le=4096), Setting("records", form=True)] = 8
    """Records of one forward pass, a process; with weight_bits 8 they go through in parts of at most 2,048 tokens."""
    learning_rate: Annotated[float | None, Field(ge=1e-9, le=10), Setting(form=True, searchable=True)] = None
    """Highest learning rate; None: as METHOD_DEFAULTS says, and in pretraining by AdamW as PRETRAIN_RATES does: 0.001 at a
    width of 512, lower for wider models; GaLore's is 0.01 at every size."""
    max_length: Annotated[int, Field(ge=8, le=1_000_000), Setting("tokens", form=True)] = 512
    """Longest record in tokens; longer ones are cut."""
    rank: Annotated[int, Field(ge=1, le=16384), Setting(methods=_LOW_RANK, form=True, searchable=True)] = 128
    """Rank of GaLore's subspace or of LoRA's adapters."""
    update_proj_gap: Annotated[
        int, Field(ge=1, le=1_000_000), Setting("steps", methods=_GALORE, form=True, searchable=True)
    ] = 200
    """GaLore: steps between two refreshes of one matrix's subspace; the matrices take turns (stagger)."""
    scale: Annotated[float | None, Field(ge=1e-6, le=1000), Setting(methods=_LOW_RANK, form=True, searchable=True)] = (
        None
    )
    """GaLore: factor of the projected update (alpha of the paper); LoRA: alpha / rank. None: as METHOD_DEFAULTS says."""
    optim_bits: Annotated[Literal[32, 8], Setting("bits", methods=("galore", "adamw"), form=True)] = 32
    """Bits of the optimizer's moments."""
    weight_bits: Annotated[Literal[32, 8], Setting("bits", methods=_GALORE, tasks=_QUANTISABLE, form=True)] = 32
    """GaLore: 8 keeps the matrices of attention and MLP in 8 bits and the 8 bits below in the computer's memory, one moment
    in 8 bits, the bases in 4 and the sums of gradients off a GPU: the least memory, for more time. 32: in 32 or 16 bits."""
    loss_on: Annotated[Literal["response", "all"], Setting(tasks=("chat",), form=True)] = "response"
    """chat: learn from the answers alone, or from the prompts as well (arXiv 2405.14394)."""
    packing: Annotated[bool, Setting(tasks=("chat", "text", "pretrain"), form=True)] = False
    """text, chat: several short documents or conversations in one row of max_length, none of which sees another."""
    replay_dataset_id: Annotated[str, Setting(tasks=("text",), form=True, widget="dataset")] = ""
    """text: another data set (chat or text) of which some is mixed in, so that less is forgotten."""
    replay_share: Annotated[float, Field(ge=0, le=0.9), Setting(tasks=("text",), form=True, widget="share")] = 0.0
    """text: share of the training rows that come from the replay data set."""
    forgetting_dataset_id: Annotated[str, Setting(tasks=("text",), form=True, widget="dataset")] = ""
    """text: instruction data on whose held-out part forgetting is measured; empty: the sample that ships; "none": not."""
    class_weights: Annotated[Literal["none", "balanced"], Setting(tasks=("classify",), form=True)] = "none"
    """classify: balanced weighs each class by the inverse of its number, as scikit-learn does."""
    least_loss: Annotated[float, Field(ge=0, le=10), Setting(tasks=("classify",), form=True)] = 0.0
    """classify: loss threshold of selective backpropagation: in a step, texts with a smaller loss are read and not learned
    from; 0: all are. 0.01 is p = 0.99."""
    preference_loss: Annotated[
        Literal["dpo", "ipo", "robust", "orpo", "simpo"], Setting(tasks=("preference",), form=True)
    ] = "dpo"
    """preference: dpo (arXiv 2305.18290), ipo (2310.12036), robust (2403.00409), and without a reference model orpo
    (2403.07691) and simpo (2405.14734). The task may be given as orpo or simpo as well."""
    beta: Annotated[float, Field(ge=1e-4, le=100), Setting(tasks=("preference", "kto"), form=True)] = 0.1
    """preference, kto: how much straying from the starting model costs (tau of IPO); orpo: weight of the odds ratio (lambda);
    simpo: factor of the margin, usually 2 to 2.5, its default 2."""
    desired_weight: Annotated[float, Field(ge=0, le=100), Setting(tasks=("kto",), form=True)] = 1.0
    """kto: what a desired answer counts (arXiv 2402.01306, lambda D)."""
    undesired_weight: Annotated[float, Field(ge=0, le=100), Setting(tasks=("kto",), form=True)] = 1.0
    """kto: what an undesired answer counts (lambda U)."""
    simpo_gamma: Annotated[float, Field(ge=0, le=100), Setting(tasks=("preference",))] = 0.5
    """simpo: the margin of the rewards that is asked for (gamma)."""
    label_smoothing: Annotated[float, Field(ge=0, le=0.49), Setting(tasks=("preference",), form=True)] = 0.0
    """preference: share of the pairs that are taken to be the wrong way round; dpo, robust and simpo."""
    policy_loss: Annotated[Literal["grpo", "dapo", "dr_grpo", "rejection"], Setting(tasks=_CHECKED, form=True)] = "grpo"
    """grpo: answers are compared with the others to the same prompt (arXiv 2402.03300); dapo: as many parts as tokens
    (2503.14476); dr_grpo: without dividing by length and spread (2503.20783); rejection: answers that pass are learned."""
    reward: Annotated[RewardKind, Setting(tasks=_CHECKED, form=True)] = "normalised"
    """grpo: what gives an answer its reward, from 0 to 1: a checker of /evaluate_decoding; fields: of the keys of a JSON
    object and of the right one, the share with the right value; json: valid JSON; expression: arithmetic that gives the right
    value; length: no more than reward_tokens."""
    reward_text: Annotated[str, Field(max_length=20_000), Setting(tasks=_CHECKED, form=True)] = ""
    """grpo: what the reward looks for: regex's pattern, contains' text, or json_schema's schema as JSON."""
    reward_model_id: Annotated[
        str, Field(max_length=500), Setting(tasks=_CHECKED, form=True, widget="reward_model")
    ] = ""
    """grpo: the finished run of the task reward whose model gives the reward "model", made of a model with the same tokenizer."""
    second_reward: Annotated[RewardKind | Literal["none"], Setting(tasks=_CHECKED, form=True)] = "none"
    """grpo: another reward that is mixed in."""
    second_share: Annotated[float, Field(ge=0, le=1), Setting(tasks=_CHECKED, form=True, widget="share")] = 0.2
    """grpo: its share of the sum."""
    reward_tokens: Annotated[int, Field(ge=1, le=4096), Setting("tokens", tasks=_CHECKED, form=True)] = 64
    """grpo: longest answer with the whole reward of length; it falls to 0 at twice as many tokens."""
    pass_reward: Annotated[float, Field(gt=0, le=1), Setting(tasks=_CHECKED)] = 1.0
    """grpo: the reward from which on an answer counts as solved, and is learned by rejection."""
    held_out_check: Annotated[CheckedBy, Setting(tasks=_CHECKED, form=True)] = "normalised"
    """grpo: what held-out answers are checked by beside the reward, which tells a reward that is won without a right answer."""
    rollouts: Annotated[int, Field(ge=2, le=256), Setting("answers", tasks=_CHECKED, form=True, searchable=True)] = 8
    """grpo: answers that are drawn to each prompt."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096), Setting("tokens", tasks=_CHECKED, form=True)] = 96
    """grpo: longest answer that is drawn."""
    rollout_temperature: Annotated[float, Field(ge=0.05, le=5), Setting(tasks=_CHECKED, form=True)] = 1.0
    """grpo: temperature of the draws, and of the probabilities that are learned."""
    rollout_steps: Annotated[int, Field(ge=1, le=1000), Setting("steps", tasks=_CHECKED, form=True)] = 1
    """grpo: steps that learn from one round of answers before the next is drawn."""
    redraws: Annotated[int, Field(ge=0, le=8), Setting(tasks=_CHECKED, form=True)] = 0
    """grpo: how often answers are drawn again to prompts whose answers all got the same reward and do not pass; what stays alike
    teaches nothing and is left out (dynamic sampling of DAPO, whose default is 2). rejection: to prompts without a passing
    answer, so that hard ones get more draws (as in DART, arXiv 2407.13690)."""
    kl_weight: Annotated[float, Field(ge=0, le=10), Setting(tasks=_CHECKED, form=True, searchable=True)] = 0.02
    """grpo: what straying from the starting model costs (beta of the paper); not of rejection."""
    kl_limit: Annotated[float, Field(ge=0, le=1000), Setting(tasks=_CHECKED)] = 2.0
    """grpo: the KL divergence a token from the starting model at which the run ends with its best weights; 0: none."""
    clip_low: Annotated[float, Field(gt=0, lt=1), Setting(tasks=_CHECKED)] = 0.2
    """grpo: how far below 1 the ratio to the model that drew an answer still counts (epsilon)."""
    clip_high: Annotated[float, Field(gt=0, le=10), Setting(tasks=_CHECKED)] = 0.2
    """grpo: the same above 1; 0.28 in DAPO, which makes it its default."""
    schedule: Annotated[Literal["linear", "cosine", "constant", "warmup_stable_decay"] | None, Setting(form=True)] = (
        None
    )
    """How the rate goes on after the warm-up: down to zero linearly or along a cosine; constant; or constant and then
    linearly down to zero over the last 30 % of the steps (warmup_stable_decay). None: as METHOD_DEFAULTS says."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000), Setting("steps", form=True)] = 10
    """Steps over which the learning rate rises linearly from zero; at most half of the run's."""
    weight_decay: Annotated[float, Field(ge=0, le=10), Setting(form=True)] = 0.0
    """Decoupled weight decay (AdamW's)."""
    eval_share: Annotated[float, Field(ge=0, le=0.5), Setting(form=True, widget="share")] = 0.1
    """Share of the records that is held out, unless the data set has a split of its own."""
    precision: Annotated[Precision, Setting(form=True)] = "auto"
    """bf16: autocast over fp32 weights, on a CPU not in evaluations, which are of the weights as they are kept; bf16_pure:
    weights and moments in bf16 too, where small updates round away; auto: bf16 where the hardware is faster with it, pure
    where only that fits into a GPU's memory, else fp32."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096), Setting(form=True)] = 1
    """Forward passes of one optimizer step."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1), Setting(form=True)] = 7
    """Seed of the order of the records, of new weights and of dropout."""
    publish_dtype: Annotated[Literal["auto", "float32", "bfloat16"], Setting(form=True)] = "auto"
    """Type of the finished model's weights; auto: that of the base model's files where the held-out loss of the written
    files is measured to stay within 0.5 % of the run's own, else float32."""
    best_by: Annotated[Literal["loss", "figure", "last"], Setting(form=True)] = "loss"
    """Which evaluation's weights are published. loss: the lowest held-out loss, the first of equal ones, the one before the
    first step included; figure: the highest F1 (the mean over the classes) of classify or preference accuracy of
    preference, and of equal ones the lower loss; last: the last step, and no weights are kept on the way."""
    keep_last: Annotated[bool, Setting(form=True)] = False
    """Publish the last step's weights too, as a model of its own beside the best: the run's id with @last, in float32."""
    keep_steps: Annotated[int, Field(ge=0, le=1_000_000), Setting("steps", form=True)] = 0
    """Steps between two whose weights are kept, so that the model can be looked at as it learned: its id is RUN@STEP; 0: none."""
    keep_steps_gb: Annotated[float, Field(ge=0.0001, le=100_000), Setting("gigabytes", form=True)] = 4.0
    """Most that kept steps take on the disk, in billions of bytes; over it, every other one is left out."""
    patience: Annotated[int, Field(ge=0, le=10_000), Setting("evaluations", form=True)] = 0
    """Evaluations without a better one after which the run ends early; 0: it trains to its last step."""
    log_with: Annotated[Literal["none", "tensorboard", "trackio"], Setting(form=True)] = "none"
    """An experiment tracker beside the run's own events; it must be installed."""

    num_processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes of accelerate; each needs a GPU of its own where there are GPUs."""
    proj_type: Annotated[Literal["std", "reverse_std", "left", "right", "full"], Setting(methods=_GALORE)] = "std"
    """GaLore: which side of a matrix is projected, as galore_torch names it."""
    refresh: Annotated[Literal["power", "random", "svd"], Setting(methods=_GALORE)] = "power"
    """GaLore: warm power iteration with Cholesky-QR; randomized SVD; or galore_torch's full SVD."""
    stagger: Annotated[bool, Setting(methods=_GALORE)] = True
    """GaLore: spread the refreshes over the steps; False refreshes all matrices in the same step, as galore_torch does."""
    galore_optimizer: Annotated[Literal["adamw", "adafactor"], Setting(methods=_GALORE)] = "adamw"
    """GaLore: the optimizer inside the subspace."""
    basis_bits: Annotated[Literal[32, 8, 4] | None, Setting("bits", methods=_GALORE)] = None
    """GaLore: 8 and 4 keep the bases of the subspaces in so many bits; 32: in the weights' type. None: 32, with weight_bits 8: 4."""
    offload_gradients: Annotated[bool, Setting(methods=_GALORE)] = False
    """GaLore on a GPU: keep the sums of projected gradients in the computer's memory rather than the GPU's."""
    target_modules: Annotated[tuple[str, ...], Setting(methods=_LOW_RANK)] = ()
    """Parts of module names to project or adapt; empty: all matrices of attention and MLP."""
    beta1: Annotated[float, Field(ge=0, le=0.9999)] = 0.9
    """Decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, le=0.999999)] = 0.999
    """Decay of the second moment."""
    eps: Annotated[float, Field(ge=1e-16, le=1)] = 1e-8
    """AdamW's epsilon."""
    max_grad_norm: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    """Global norm to which gradients are clipped; 0: not clipped. GaLore clips what the optimizer sees, the projected ones."""
    folds: Annotated[int, Field(ge=0, le=20)] = 0
    """K-fold cross-validation: parts that the records are dealt into; 0: eval_share or the data set's own split."""
    fold: Annotated[int, Field(ge=0, le=19)] = 0
    """The part that this run holds out, from 0."""
    eval_records: Annotated[int, Field(ge=1, le=100_000), Setting("records")] = 32
    """Most held-out records that are evaluated during the run; classify judges all of them at its end."""
    eval_steps: Annotated[int, Field(ge=0, le=1_000_000), Setting("steps")] = 28
    """Steps between two evaluations; the first and the last step are always evaluated. 0: only these."""
    probe_id: Annotated[str, Field(max_length=200), Setting(tasks=("chat",), form=True, widget="probe")] = ""
    """chat: the finished probe (/probe_knowledge) of this data set by whose classes loss and right answers are told at each
    evaluation; empty: the newest one by the model that the run starts from, if there is one; "none": not."""
    probe_records: Annotated[int, Field(ge=1, le=64), Setting("records", tasks=("chat",))] = 12
    """chat: most records of each class that are asked then, as many that are learned from and as many that are held out."""
    split_version: Annotated[int, Field(ge=1, le=SPLIT_VERSION)] = SPLIT_VERSION
    """How held-out records are drawn (data/split.py); kept so that a run goes on with what it held out. 1: before that."""
    checkpoint_seconds: Annotated[float, Field(ge=1, le=1e9)] = 180.0
    """Seconds between two checkpoints."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them."""
    compile: bool = False
    """Fuse norms and gated products with torch.compile: pays in long runs on a GPU."""
    name: Annotated[str, Field(max_length=120)] = ""
    """What the run is called; empty: the model's and the data set's names."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """A checked config. Raises UserError naming the key, what was got and what is valid."""
        if not isinstance(values, dict):
            raise UserError("err_config_no_object")
        clean = check(cls, by_loss(values), say("what_config"))
        for key, by_value in DEFAULTS_BY_LOSS.items():
            clean = by_value.get(clean.get(key, ""), {}) | clean
        if not clean.get("dataset_id"):
            raise UserError("err_no_dataset_id")
        config = cls(**{**TASK_DEFAULTS.get(clean.get("task", ""), {}), **clean})
        _check_together(config)
        return config

    def resolved(self) -> "TrainConfig":
        """The same config with the defaults of its task and method filled in."""
        defaults = of_run(self.task, self.method, self.model_size) | {"basis_bits": 4 if self.quantises else 32}
        return replace(self, **{key: value for key, value in defaults.items() if getattr(self, key) is None})

    @property
    def saves_memory(self) -> bool:
        """Whether somebody chose less memory over time."""
        return self.activation_checkpointing or self.optim_bits == 8 or self.quantises

    @property
    def quantises(self) -> bool:
        """Whether matrices are kept in 8 bits."""
        return self.weight_bits == 8 and self.method == "galore" and self.task in _QUANTISABLE

    @property
    def pass_tokens(self) -> int | None:
        """Most tokens of one pass, padding included: a micro-batch of more is computed in parts. None: no bound."""
        return 2048 if self.quantises else None

    @property
    def offloads(self) -> bool:
        """Whether a GPU's sums of projected gradients are kept in the computer's memory."""
        return self.method == "galore" and (self.offload_gradients or self.quantises)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` takes it back."""
        return {**asdict(self), "target_modules": list(self.target_modules)}

    @property
    def global_batch(self) -> int:
        """Records of one optimizer step, over all processes."""
        return self.batch_size * self.gradient_accumulation_steps * self.num_processes


def data_tasks(task: str) -> tuple[str, ...]:
    """The tasks of which one must be that of a run's data set."""
    others = {"pretrain": ("text",), "grpo": ("chat",), "reward": ("preference",), "kto": ("preference", "chat")}
    return others.get(task, (task,))


def rows_of(config: TrainConfig) -> int:
    """Rows of one forward and backward pass; kto's other rows, of answers to other prompts, go forward alone."""
    each = {"preference": 2, "reward": 2, "grpo": config.rollouts}
    return config.batch_size * each.get(config.task, 1)


def defaults_of(task: str, method: str) -> TrainConfig:
    """The config that a task and method start from; its dataset_id is empty."""
    return TrainConfig("", method=method, task=task, **TASK_DEFAULTS.get(task, {})).resolved()  # type: ignore[arg-type]


def by_loss(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings where the task is given by the name of its loss, as orpo: the task preference with that loss."""
    if values.get("task") not in LOSSES_AS_TASKS:
        return dict(values)
    loss = values["task"]
    if values.get("preference_loss") not in (None, loss):
        raise UserError("err_task_and_loss", task=repr(loss), loss=repr(values["preference_loss"]))
    return {**values, "task": "preference", "preference_loss": loss}


METHOD_NAMES = {"galore": "GaLore", "adamw": "AdamW", "lora": "LoRA"}
"""The methods as papers write them."""


def reasons_without_effect(task: str, method: str) -> dict[str, str]:
    """{setting: why it has no effect} in a run of `task` by `method`."""
    names = METHOD_NAMES
    reasons: dict[str, str] = {}
    for name, field in fields_of(TrainConfig).items():
        methods, tasks = field.setting.methods, field.setting.tasks
        if tasks and task not in tasks:
            reasons[name] = say("why_task", tasks=one_of(tasks), task=task)
        elif methods and method not in methods:
            reasons[name] = say("why_method", methods=one_of([names[each] for each in methods]), method=names[method])
    return reasons


def _check_together(config: TrainConfig) -> None:
    """Raises UserError for values that do not go together."""
    if config.method == "lora" and config.optim_bits == 8:
        raise UserError("err_lora_8bit")
    if config.galore_optimizer == "adafactor" and config.optim_bits == 8:
        raise UserError("err_adafactor_8bit")
    if config.quantises:
        _check_quantised(config)
    if config.offload_gradients and config.num_processes > 1:
        raise UserError("err_offload_processes")
    if config.task == "pretrain" and config.method == "lora":
        raise UserError("err_pretrain_lora")
    if config.factor_rank and (config.task, config.method) != ("pretrain", "adamw"):
        raise UserError("err_factor_rank", rank=config.factor_rank, task=config.task, method=config.method)
    if config.replay_share and not config.replay_dataset_id:
        raise UserError("err_replay_without_data", replay_share=f"{config.replay_share:g}")
    if config.best_by == "figure" and config.task not in OWN_FIGURES:
        raise UserError("err_best_by_figure", task=config.task, tasks=one_of(list(OWN_FIGURES)))
    if config.preference_loss in ("ipo", "orpo") and config.label_smoothing:
        raise UserError("err_no_smoothing", loss=config.preference_loss.upper())
    if config.task == "grpo":
        check_rewards(config.reward, config.second_reward, config.reward_text, config.reward_model_id)
        if config.num_processes > 1:
            raise UserError("err_grpo_processes", n=config.num_processes)
    if config.folds == 1 or config.fold >= max(1, config.folds):
        raise UserError("err_fold_of_folds", fold=config.fold, folds=config.folds)


def _check_quantised(config: TrainConfig) -> None:
    """Raises UserError for what cannot be had with weight_bits 8."""
    if config.num_processes > 1:
        raise UserError("err_quantised_processes", n=config.num_processes)
    if config.galore_optimizer != "adamw":
        raise UserError("err_quantised_optimizer", optimizer=config.galore_optimizer)
    if config.keep_steps:
        raise UserError("err_quantised_steps", n=config.keep_steps)
