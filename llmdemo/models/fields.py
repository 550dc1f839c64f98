"""Whether config.json says what a model can be: types and sizes of the fields that all architectures share.

Knows nothing of files or of single architectures. What it lets pass, transformers may still refuse.
"""

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

_SIZES = (
    *("hidden_size", "n_embd", "d_model", "intermediate_size", "vocab_size", "head_dim", "num_key_value_heads"),
    *("num_attention_heads", "n_head", "num_hidden_layers", "n_layer", "num_layers"),
    *("max_position_embeddings", "n_positions", "n_ctx", "sliding_window"),
)
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "num_key_value_heads")
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok", "n_shared_experts")
_WIDTHS = ("hidden_size", "n_embd", "d_model", "vocab_size")
_SWITCHES = (
    *("use_cache", "tie_word_embeddings", "is_encoder_decoder", "is_decoder", "output_attentions"),
    *("output_hidden_states", "return_dict", "attention_bias", "mlp_bias"),
)
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id")
_TYPES = {"float32", "float16", "bfloat16", "float64", "half", "float", "double", "auto"}
_TYPES |= {"float8_e4m3fn", "float8_e5m2", "int8", "uint8"}
_MOST_LAYERS = 4000
_LARGEST, _MOST_LABELS, _MOST_IDS = 2**31, 100_000, 1000
_AGAIN = say("copy_again_saved")


def check_fields(config: dict) -> None:
    """Raises UserError for the first field, of the whole or of one of its parts, that no model can have."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict) and "model_type" in value)):
        for key in _SIZES:
            if key in part:
                _check_size(key, part[key], least=0 if key == "sliding_window" else 1)
            if key in _LAYERS and type(part.get(key)) is int and part[key] > _MOST_LAYERS:
                raise _odd(key, part[key], say("valid_at_most", most=_MOST_LAYERS))
        for key in _COUNTS:
            if key in part:
                _check_size(key, part[key], least=0)
        for key in _SWITCHES:
            if not isinstance(part.get(key), (bool, type(None))):
                raise _odd(key, part[key], say("valid_true_false"))
        check_ids(part)
        for key in ("dtype", "torch_dtype"):
            _check_type(key, part.get(key))
        _check_labels(part)


def check_ids(part: dict, name: str = "config.json") -> None:
    """Raises UserError for token ids that are no whole numbers, or too many."""
    for key in _IDS:
        value = part.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if len(ids) > _MOST_IDS:
            raise UserError("err_many_ids", _AGAIN, name=name, n=len(ids), key=key, most=_MOST_IDS)
        if not all(type(each) is int and -1 <= each < _LARGEST for each in ids):
            raise _odd(key, value, say("valid_ids"), name)


def check_counts(config: dict, tensors: int, largest: int) -> None:
    """Raises UserError for more layers than there are tensors, or more experts or heads than any of them is wide.

    tensors: how many there are; largest: the largest dimension of any.
    """
    for part in (config, *(value for value in config.values() if isinstance(value, dict) and "model_type" in value)):
        for key in _LAYERS:
            if type(part.get(key)) is int and part[key] > tensors:
                raise UserError("err_few_tensors", _AGAIN, key=key, value=part[key], tensors=tensors)
        packed = 16 if config.get("quantization_config") else 1  # several numbers in one
        for key in (*_COUNTS, *_HEADS, *_WIDTHS):
            if type(part.get(key)) is int and part[key] > max(largest * packed, tensors):
                raise UserError("err_narrow_tensors", _AGAIN, key=key, value=part[key], largest=largest)


def _check_size(key: str, value, least: int) -> None:
    sizes = value if isinstance(value, list) else [] if value is None else [value]
    if len(sizes) > 10_000 or not all(type(each) is int and least <= each < _LARGEST for each in sizes):
        raise _odd(key, value, say("valid_from_to", least=least, most=_LARGEST - 1))


def _check_type(key: str, value) -> None:
    if value is not None and (not isinstance(value, str) or value.removeprefix("torch.") not in _TYPES):
        raise _odd(key, value, say("valid_type"))


def _check_labels(part: dict) -> None:
    for key in ("num_labels", "_num_labels"):
        if part.get(key) is not None and not (type(part[key]) is int and 0 <= part[key] <= _MOST_LABELS):
            raise _odd(key, part[key], say("valid_up_to", most=_MOST_LABELS))
    for key in ("id2label", "label2id"):
        value = part.get(key)
        if value is not None and (not isinstance(value, dict) or len(value) > _MOST_LABELS):
            raise _odd(key, value, say("valid_names", most=_MOST_LABELS))


def _odd(key: str, value, valid: str, name: str = "config.json") -> UserError:
    return UserError("err_odd_field", _AGAIN, name=name, key=key, value=repr(str(value)[:60]), valid=valid)
