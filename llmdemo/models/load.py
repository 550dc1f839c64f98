"""The only from_pretrained calls of the app: local folders, safetensors, no remote code.

Every folder is checked (check.py) right before it is loaded. Knows nothing of ids; the catalog resolves those.
"""

import os
import threading
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from llmdemo.core.errors import UserError, first_line
from llmdemo.core.spaces import on_zero_gpu
from llmdemo.models import presets, scratch, template
from llmdemo.models.catalog import ModelEntry
from llmdemo.models.check import check_folder, read_config
from llmdemo.models.classifier_eos import append_eos
from llmdemo.models.files import read_object

transformers_logging.disable_progress_bar()
template.install()
# cuDNN's attention makes a plan for every new shape, some 60 ms each, and each step of a text, each length of a prompt is a new one.
torch.backends.cuda.enable_cudnn_sdp(False)
_SAFE = {"local_files_only": True, "trust_remote_code": False}
_MAKING = threading.RLock()
"""Held while transformers makes a model: it sets torch's default dtype meanwhile, for all threads. Two at once would mix
their types, and could leave the wrong one behind for good."""


def _after_fork() -> None:
    """In a forked process (ZeroGPU's), the thread that held the lock and would set the type back does not exist."""
    global _MAKING
    _MAKING = threading.RLock()
    torch.set_default_dtype(torch.float32)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 in hardware; where it does not, bf16 is several times slower than fp32."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def best_device() -> torch.device:
    """CUDA, else Apple's MPS, else the CPU; on ZeroGPU the CPU, as the app's own process has no GPU there."""
    if on_zero_gpu():
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type in which inference is fastest on `device`: bf16 where the hardware has it, else fp32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32


def usual_dtype(source: ModelEntry | Path, device: torch.device) -> torch.dtype:
    """The type in which a model is used where nobody asks for one: the fastest, but float32 for what a run wrote in
    float32 because less would not be what it trained (training/narrow.py).
    """
    folder = source if isinstance(source, Path) else source.path
    try:
        origin = read_object(folder / "origin.json", 2**20) if folder else {}
    except (OSError, UserError):
        origin = {}
    return torch.float32 if origin.get("dtype") == "float32" else fast_dtype(device)


def load_tokenizer(source: ModelEntry | Path):
    """The tokenizer of a model, with a pad token (EOS where it has none). Raises UserError when it has none at all."""
    folder = _folder(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, **_SAFE)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):  # a folder may name any class of transformers
            raise TypeError(f"{type(tokenizer).__name__} is no tokenizer of one model")
    except Exception as error:  # the Rust library raises Exception itself
        raise UserError("err_tokenizer_unloadable", folder=repr(folder.name), error=first_line(error)) from error
    getattr(tokenizer, "init_kwargs", {}).pop("auto_map", None)  # code that never runs here is not handed on either
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.is_fast:
        # threads share it: a call without them would take these off first, which fails while another thread is encoding
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def load_classifier_tokenizer(source: ModelEntry | Path):
    """The tokenizer that a classifier made of this model reads texts with: its own, where it is one already.

    Raises UserError as `load_tokenizer` does.
    """
    folder = _folder(source)
    tokenizer = load_tokenizer(folder)
    if check_folder(folder).head != "classify" and tokenizer.is_fast:
        append_eos(tokenizer)
    return tokenizer


def load_causal(source: ModelEntry | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None):
    """(model in eval mode, tokenizer). dtype None: as `usual_dtype` says; device None: the best there is.

    Raises UserError when the folder may not be loaded or is not a causal language model.
    """
    folder = _folder(source)
    facts = check_folder(folder)
    if facts.head != "write":
        # transformers would give it a random head without a word.
        raise UserError("err_no_writer", folder=repr(folder.name), architecture=facts.architecture)
    device = torch.device(device) if device else best_device()
    _check_size(AutoModelForCausalLM, folder, facts.parameters)
    tokenizer = load_tokenizer(folder)
    model = _load(AutoModelForCausalLM, folder, dtype=dtype or usual_dtype(folder, device))
    _keep_pad_inside(model, tokenizer)
    return model.to(device).eval(), tokenizer


def load_encoder(source: ModelEntry | Path, dtype: torch.dtype | None = None):
    """(model without a head in eval mode, tokenizer): what gives hidden states. Raises UserError as `load_causal` does."""
    folder = _folder(source)
    check_folder(folder)
    tokenizer = load_tokenizer(folder)
    model = _load(AutoModel, folder, dtype=dtype or usual_dtype(folder, best_device()))
    _keep_pad_inside(model, tokenizer)
    return model.to(best_device()).eval(), tokenizer


def usable_pad(model, tokenizer) -> int:
    """The pad token, or EOS or token 0 where the embedding has no row for it: a pad token that was added is often one too many."""
    rows = model.get_input_embeddings().weight.shape[0]
    wanted = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((token for token in wanted if token is not None and token < rows), 0)


def _keep_pad_inside(model, tokenizer) -> None:
    if tokenizer.pad_token_id is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(usable_pad(model, tokenizer))


def load_classifier(
    source: ModelEntry | Path, labels: list[str] | None = None, dtype: torch.dtype | None = None, device=None
):
    """(model with a classification head in eval mode, tokenizer); the order of the classes is `model.config.id2label`.

    labels: the classes; the head is kept where the folder has one for exactly these, else it is fresh, drawn from
    torch's random numbers. None: the folder's own head and classes; raises UserError where it has none.
    """
    folder = _folder(source)
    facts = check_folder(folder)
    own = _labels_of(folder) if facts.head == "classify" else None
    if labels is None and own is None:
        raise UserError("err_no_classes", folder=repr(folder.name), architecture=facts.architecture)
    labels = labels or own
    device = torch.device(device) if device else best_device()
    names = dict(enumerate(labels or ()))
    _check_size(AutoModelForSequenceClassification, folder, facts.parameters, id2label=names)
    tokenizer = load_classifier_tokenizer(folder)
    model = _load(
        AutoModelForSequenceClassification,
        folder,
        dtype=dtype or torch.float32,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        ignore_mismatched_sizes=True,
    )
    if own is not None and own != labels:
        _renew_head(model)
    _keep_pad_inside(model, tokenizer)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device).eval(), tokenizer


def _labels_of(folder: Path) -> list[str]:
    names = read_config(folder).get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
    return [str(names[key]) for key in sorted(names, key=int)]


@torch.no_grad()
def _renew_head(model) -> None:
    """A head for other classes starts from random numbers, also where it has the old one's shape."""
    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        for layer in head.modules() if head is not None else ():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.normal_(0.0, getattr(model.config, "initializer_range", 0.02))
                if layer.bias is not None:
                    layer.bias.zero_()


def load_gguf(path: Path):
    """(fp32 model, tokenizer) from a GGUF file of the starter model, dequantised."""
    folder, name = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, **_SAFE)
    with _MAKING:
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, **_SAFE)
    return model, tokenizer


def _load(kind, folder: Path, **options):
    try:
        with _MAKING:
            model = kind.from_pretrained(folder, use_safetensors=True, **_SAFE, **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        raise UserError("err_model_unloadable", folder=repr(folder.name), error=first_line(error)) from error
    for part in (model.config, *vars(model.config).values()):
        getattr(part, "__dict__", {}).pop("auto_map", None)  # code that never runs here is not handed on either
    return model


def _check_size(kind, folder: Path, there: int, **options) -> None:
    """Raises UserError where config.json makes a model of many more numbers than the `there` in the weights' files.

    transformers would fill what is missing with random numbers, and the memory with them. The model is made on the meta
    device, which takes none. Quantised weights hold several numbers in one; of those, and of what cannot be made so, loading tells.
    """
    if read_config(folder).get("quantization_config"):
        return
    try:
        config = AutoConfig.from_pretrained(folder, **_SAFE, **options)
        with _MAKING, torch.device("meta"):
            outline = kind.from_config(config, trust_remote_code=False)
    except Exception:  # an architecture may raise anything here; what loading raises is a sentence
        return
    made = sum(each.numel() for each in outline.parameters())
    if made > _MOST_MISSING * there + _FEW:
        raise UserError("err_weights_of_another", folder=repr(folder.name), made=made, there=there)


_MOST_MISSING, _FEW = 1.25, 1_000_000
"""A fresh head, and layers that some architectures add to it, are not in the files."""


def _folder(source: ModelEntry | Path) -> Path:
    folder = source if isinstance(source, Path) else source.path
    if folder is None:
        assert isinstance(source, ModelEntry)
        raise UserError("err_model_not_here_2", title=source.title)
    return folder


def load_config(source: ModelEntry | Path):
    """transformers' config of a model; of a preset or a model that is yet to be made, which need no folder. Raises UserError
    for a folder that may not be loaded."""
    if isinstance(source, ModelEntry) and source.path is None and source.kind in (presets.KIND, scratch.KIND):
        known = source.kind == presets.KIND
        values = dict(presets.preset(source.id).config) if known else scratch.config_of_entry(source)
        return AutoConfig.for_model(values.pop("model_type"), **values)
    folder = _folder(source)
    check_folder(folder)
    try:
        return AutoConfig.from_pretrained(folder, **_SAFE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise UserError("err_no_usable_config", folder=repr(folder.name), error=first_line(error)) from error


def load_outline(source: ModelEntry | Path, dtype: torch.dtype, classifies: bool = False):
    """The causal model, or the classifier, without its weights, on the meta device: shapes only, for predictions.

    It has the attention that it is loaded with. Raises UserError, and what transformers raises for a model that cannot
    be made without numbers.
    """
    config = load_config(source)
    kind = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    with _MAKING, torch.device("meta"):
        return kind.from_config(config, trust_remote_code=False, dtype=dtype)


def positions(model: torch.nn.Module) -> int | None:
    """Most tokens that the model reads at once; None where its config does not say."""
    limit = getattr(model.config, "max_position_embeddings", None) or getattr(model.config, "n_positions", None)
    if not isinstance(limit, int):
        return None
    # RoBERTa's positions begin after its padding's.
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return limit - module.padding_idx - 1
    return limit
