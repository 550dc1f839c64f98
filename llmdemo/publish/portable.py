"""What other servers would stumble over in a model's folder, the same folder without that, and the commands that run it.

vLLM, SGLang, TGI and Inference Endpoints often have transformers 4, which reads some of what transformers 5 writes in
another way: `rope_parameters` is unknown to it (rope_theta falls back to 10,000, and the model writes nonsense without any
error), and so are the tokenizer class TokenizersBackend and `dtype`. Both spellings may stand side by side. Imports no torch.
"""

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmdemo.models.files import read_object

SERVERS = ("vllm", "sglang", "tgi", "endpoint")
_MOST_BYTES = 16 * 2**20
_MOST_NAME = 200
"""Characters of what a foreign folder says of itself."""
_OWN = {
    "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM",
    "Gemma3ForCausalLM", "Phi3ForCausalLM", "PhiForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "OPTForCausalLM",
}  # fmt: skip
"""Of which vLLM, SGLang and TGI have an implementation of their own (their lists of supported models, November 2026)."""
_OPTIMUM = "0.1.0"
"""The last one in November 2026: needs transformers below 4.58, so it is no part of this app, whose is 5."""
_OLD_THETA = 10_000.0
_FAST = "PreTrainedTokenizerFast"
STOPS, WRONG, NOTE = "stops", "wrong", "note"


@dataclass(frozen=True)
class Finding:
    """One thing that a server would stumble over."""

    code: str
    """The key of its sentence is deploy_<code>."""
    level: str
    """stops: it does not start or answer; wrong: it answers wrongly; note: good to know."""
    servers: tuple[str, ...] = SERVERS
    mended: bool = False
    """Whether the downloaded folder, and what is pushed, has it mended."""
    value: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def findings(folder: Path) -> list[Finding]:
    """What in the folder another server would stumble over, the worst first. Reads the small files only."""
    config, tokenizer = _read(folder, "config.json"), _read(folder, "tokenizer_config.json")
    found = [
        *_of_files(folder, config),
        *_of_config(config),
        *_of_tokenizer(folder, config, tokenizer),
        *_of_ends(folder, config, tokenizer),
    ]
    order = (STOPS, WRONG, NOTE)
    return sorted(found, key=lambda finding: (finding.mended, order.index(finding.level)))


def mended(folder: Path) -> dict[str, bytes]:
    """The small files that are to be sent in the place of the folder's own, so that older servers read them as we do."""
    config, tokenizer = _read(folder, "config.json"), _read(folder, "tokenizer_config.json")
    changed: dict[str, dict[str, Any]] = {}
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope and "rope_theta" not in config:
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        plain = scaling.get("rope_type", "default") == "default"
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None if plain else scaling}
        changed["config.json"] = config
    if "dtype" in config and "torch_dtype" not in config:
        changed["config.json"] = config = {**config, "torch_dtype": config["dtype"]}
    if tokenizer.get("tokenizer_class") == "TokenizersBackend" and (folder / "tokenizer.json").is_file():
        changed["tokenizer_config.json"] = tokenizer = {**tokenizer, "tokenizer_class": _FAST}
    template = folder / "chat_template.jinja"
    if template.is_file() and "chat_template" not in tokenizer:
        text = template.read_text(encoding="utf-8")
        changed["tokenizer_config.json"] = {**tokenizer, "chat_template": text}
    return {name: json.dumps(value, ensure_ascii=False, indent=2).encode() for name, value in changed.items()}


def commands(name: str, repo: str, classifies: bool) -> dict[str, str]:
    """{server: its command} beside the unpacked folder `name` (space.packed), and for the endpoint a repository on the hub."""
    folder, quoted = shlex.quote(f"./{name}/model"), shlex.quote(name)
    endpoint = f"hf endpoints deploy {quoted} --repo {shlex.quote(repo)} --framework pytorch --accelerator gpu"
    endpoint += " \\\n  --vendor aws --region us-east-1 --instance-type nvidia-l4 --instance-size x1"
    if classifies:
        return {
            "vllm": f"vllm serve {folder} --runner pooling --served-model-name {quoted}",
            "endpoint": f"{endpoint} \\\n  --task text-classification",
        }
    image = "ghcr.io/huggingface/text-generation-inference:3.3.6"
    return {
        "vllm": f"vllm serve {folder} --served-model-name {quoted} --generation-config vllm",
        "sglang": f"python -m sglang.launch_server --model-path {folder} --served-model-name {quoted} --port 30000",
        "tgi": f'docker run --gpus all --shm-size 1g -p 8080:80 -v "$PWD"/{quoted}/model:/model \\\n  {image} --model-id /model',
        "endpoint": f"{endpoint} \\\n  --task text-generation --engine vllm",
        "mlx": f"mlx_lm.convert --hf-path {folder} --mlx-path {shlex.quote(f'./{name}-mlx')} -q\n"
        f"mlx_lm.server --model {shlex.quote(f'./{name}-mlx')}",
        "onnx": _onnx(folder, shlex.quote(f"./{name}-onnx")),
    }


def _onnx(folder: str, target: str) -> str:
    """optimum's exporter in an environment of its own: it needs another transformers than this app."""
    needs = f"optimum-onnx[onnxruntime]=={_OPTIMUM} torch"
    return f"python -m venv onnx && onnx/bin/pip install {needs} &&\n  onnx/bin/optimum-cli export onnx --model {folder} {target}"


def _of_files(folder: Path, config: dict[str, Any]) -> list[Finding]:
    if not config:
        return [Finding("no_config", STOPS)]
    found = []
    if not any(folder.glob("*.safetensors")):
        found.append(Finding("no_weights", STOPS))
    index = _read(folder, "model.safetensors.index.json")
    named = {str(file)[:_MOST_NAME] for file in _object(index, "weight_map").values()}
    missing = sorted(name for name in named if not (folder / name).is_file())
    if missing:
        found.append(Finding("missing_shard", STOPS, value=missing[0]))
    if not (folder / "tokenizer.json").is_file():
        found.append(Finding("no_fast_tokenizer", STOPS, ("tgi", "endpoint")))
    return found


def _of_config(config: dict[str, Any]) -> list[Finding]:
    found = []
    architecture = _architecture(config)
    if architecture.endswith("ForSequenceClassification"):
        found.append(Finding("classifier", STOPS, ("tgi",)))
    elif architecture and architecture not in _OWN:
        found.append(Finding("other_architecture", NOTE, ("vllm", "sglang", "tgi"), value=architecture))
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" not in config:
        theta = rope.get("rope_theta", _OLD_THETA)
        if theta != _OLD_THETA or rope.get("rope_type", "default") != "default":
            shown = f"{theta:,.0f}" if isinstance(theta, int | float) else str(theta)[:_MOST_NAME]
            found.append(Finding("rope", WRONG, mended=True, value=shown))
    if config.get("dtype", "float32") != "float32" and "torch_dtype" not in config:
        found.append(Finding("dtype", NOTE, mended=True, value=str(config["dtype"])))
    return found


def _of_tokenizer(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> list[Finding]:
    found = []
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        found.append(Finding("tokenizer_class", STOPS, mended=True))
    writes = not _architecture(config).endswith("ForSequenceClassification")
    own = "chat_template" in tokenizer
    if writes and not own and not (folder / "chat_template.jinja").is_file():
        found.append(Finding("no_template", STOPS))
    elif writes and not own:
        found.append(Finding("template_file", NOTE, ("tgi", "endpoint"), mended=True))
    vocabulary = _object(_read(folder, "tokenizer.json"), "model").get("vocab")
    size = len(vocabulary) if isinstance(vocabulary, dict | list) else 0
    rows = config.get("vocab_size")
    if isinstance(rows, int) and size > rows:
        found.append(Finding("vocabulary", STOPS, value=f"{size:,} > {rows:,}"))
    return found


def _of_ends(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> list[Finding]:
    """Whether answers end: servers stop at generation_config's eos_token_id, and chat turns end with the tokenizer's."""
    if _architecture(config).endswith("ForSequenceClassification"):
        return []
    generation = _read(folder, "generation_config.json")
    if not generation:
        return [Finding("no_generation_config", NOTE)]
    ends = generation.get("eos_token_id", config.get("eos_token_id"))
    known = {end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)}
    found = [] if known else [Finding("no_end", WRONG)]
    eos = _content(tokenizer.get("eos_token"))
    added = _read(folder, "tokenizer.json").get("added_tokens")
    tokens = [token for token in (added if isinstance(added, list) else []) if isinstance(token, dict)]
    ids = {_content(token): token.get("id") for token in tokens}
    if known and eos in ids and ids[eos] not in known:
        found.append(Finding("other_end", WRONG, value=eos))
    drawn = {key: generation[key] for key in ("temperature", "top_p", "top_k") if generation.get(key) is not None}
    if drawn:
        shown = ", ".join(f"{key} {value}" for key, value in drawn.items())
        found.append(Finding("draws", NOTE, ("vllm", "sglang", "endpoint"), value=shown))
    return found


def _object(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _architecture(config: dict[str, Any]) -> str:
    """The first that config.json names; "" where it names none."""
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read(folder: Path, name: str) -> dict[str, Any]:
    """A file's JSON object; {} where it is not there or none."""
    path = folder / name
    if not path.is_file():
        return {}
    try:
        return read_object(path, 256 * 2**20 if name == "tokenizer.json" else _MOST_BYTES)
    except Exception:  # whatever is wrong with it: the model's own check has said so
        return {}
