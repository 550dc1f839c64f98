"""Tiny models, batches and runs for the tests of training."""

import copy
import json
import signal

import pytest
import torch

from llmdemo.core import store
from llmdemo.core.events import read_events
from llmdemo.data.ingest import add_dataset
from llmdemo.settings.training import data_tasks
from llmdemo.training import TrainConfig, build_optimizer, products


@pytest.fixture(autouse=True)
def signals_as_they_were():
    """A worker in this process takes SIGTERM and SIGINT for itself."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def events(run_dir, kind=None) -> list[dict]:
    """What a run's worker told, of this kind only if one is given."""
    return [event for event in read_events(run_dir / "events.jsonl")[0] if kind in (None, event["type"])]


def make_config(**changes) -> TrainConfig:
    values = {"dataset_id": "x", "rank": 4, "update_proj_gap": 7, "scale": 0.7, "learning_rate": 1e-2}
    return TrainConfig(**{**values, **changes})


def galore_torch_optimizer(model, config: TrainConfig):
    """galore_torch's own optimizer with its own projector, on the same groups as ours."""
    import galore_torch

    linear = [m.weight for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    chosen = set(map(id, linear))
    rest = [p for p in model.parameters() if id(p) not in chosen]
    galore = {key: getattr(config, key) for key in ("rank", "update_proj_gap", "scale", "proj_type")}
    groups = [
        {"params": [p for p in rest if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() <= 1], "weight_decay": 0.0},
        {"params": linear, "weight_decay": config.weight_decay, **galore},
    ]
    if config.galore_optimizer == "adafactor":
        options = {"relative_step": False, "scale_parameter": False, "beta1": config.beta1}
        return galore_torch.GaLoreAdafactor(groups, lr=config.learning_rate, **options)
    options = {"lr": config.learning_rate, "betas": (config.beta1, config.beta2), "eps": config.eps}
    return galore_torch.GaLoreAdamW(groups, **options, no_deprecation_warning=True)


def token_batches(count, vocabulary=64, shape=(2, 12), seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, vocabulary, shape, generator=generator) for _ in range(count)]


def backward(model, ids, share=1.0):
    (model(input_ids=ids, labels=ids).loss * share).backward()


def train(model, config, batches, accumulation=1):
    """Our optimizer over `batches`; the model is changed."""
    optimizer = build_optimizer(model, config)
    for start in range(0, len(batches), accumulation):
        for ids in batches[start : start + accumulation]:
            backward(model, ids, 1 / accumulation)
        optimizer.step()
    return optimizer


def distance(a, b) -> float:
    """Largest difference of two models' weights."""
    return max((x - y).abs().max().item() for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture
def tools():
    """The functions above: test modules cannot import this file by name."""
    from types import SimpleNamespace

    return SimpleNamespace(
        make_config=make_config,
        galore_torch_optimizer=galore_torch_optimizer,
        token_batches=token_batches,
        backward=backward,
        train=train,
        distance=distance,
    )


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where oneDNN is faster, for products of any size; gives a list with one entry a product that it made."""
    if not products._is_right():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(products, "LEAST", 0)
    made, multiply = [], products._by_onednn
    monkeypatch.setattr(products, "_by_onednn", lambda *factors: made.append(1) or multiply(*factors))
    return made


@pytest.fixture
def llama64():
    """Makes tiny float64 Llamas with a vocabulary of 64, all alike: rounding cannot hide a difference."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.15, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).double()
    return lambda: copy.deepcopy(model)


def run_maker(home, dataset_id, model_folder, **own):
    """A function that makes run folders, ready for the worker, and takes changes of the config."""

    def make(**changes):
        run_dir = home.runs / store.new_id("run")
        run_dir.mkdir()
        values = {
            "dataset_id": dataset_id,
            "model_id": str(model_folder),
            "rank": 8,
            "max_steps": 8,
            "eval_steps": 4,
            "batch_size": 4,
            "update_proj_gap": 3,
            "split_version": 2,
        }
        store.write_json(run_dir / "config.json", {**values, **own, **changes})
        return run_dir

    return make


@pytest.fixture
def make_run(home, settings, tiny_model_folder, alpaca_file):
    """Makes a run folder on the tiny model and forty sums, ready for the worker."""
    return run_maker(home, add_dataset(home, settings, alpaca_file, "sums").dataset_id, tiny_model_folder)


@pytest.fixture
def run_on(home, settings, alpaca_file):
    """Makes a run folder on a model folder and forty sums: run_on(folder, method="lora")."""
    dataset_id = add_dataset(home, settings, alpaca_file, "sums").dataset_id
    return lambda folder, **changes: run_maker(home, dataset_id, folder)(**changes)


def label_rows(count=48):
    """Short messages: every third is spam and says so."""
    return [
        (("win a prize now", "spam") if n % 3 == 0 else ("see you at home", "ham"))[0] + f" {n * 7919 % 9973}"
        for n in range(count)
    ], ["spam" if n % 3 == 0 else "ham" for n in range(count)]


def write_task_files(folder):
    """A small file of each task but chat, by the task's name."""
    texts, labels = label_rows()
    rows = "".join(f"{label}\t{text}\n" for text, label in zip(texts, labels, strict=True))
    (folder / "labels.tsv").write_text(rows)
    sentences = "The capital of France is Paris. Apples and pears are fruits. He goes to the park every day."
    words = sentences.split()
    paragraphs = [" ".join(words[(n * k) % len(words)] for k in range(5, 5 + 6 + n * 3)) for n in range(1, 24)]
    (folder / "text.txt").write_text("\n\n".join(paragraphs))
    pairs = [
        {"prompt": f"Add {n} and {n + 1}.", "chosen": f"The sum is {2 * n + 1}.", "rejected": f"No idea, {n} perhaps?"}
        for n in range(30)
    ]
    (folder / "pairs.json").write_text(json.dumps(pairs))
    return {name: folder / file for name, file in
            (("classify", "labels.tsv"), ("text", "text.txt"), ("preference", "pairs.json"))}  # fmt: skip


@pytest.fixture
def task_files(tmp_path):
    return write_task_files(tmp_path)


def task_run_maker(home, settings, model_folder, files):
    """A function that makes run folders of any task on a model: made("classify", method="lora").

    files: each task's data, as write_task_files gives them, and chat's.
    """
    made = {}

    def make(task, **changes):
        if task not in made:
            path = {**files, "grpo": files["chat"], "reward": files["preference"], "kto": files["preference"]}[task]
            dataset_id = add_dataset(home, settings, path, task, task=data_tasks(task)[0]).dataset_id
            own = {"text": {"max_length": 64, "forgetting_dataset_id": "none"}}.get(task, {})
            made[task] = run_maker(home, dataset_id, model_folder, task=task, learning_rate=1e-3, **own)
        return made[task](**changes)

    return make


@pytest.fixture
def task_run(home, settings, tiny_model_folder, task_files, alpaca_file):
    """Makes a run folder of any task on the tiny model: task_run("classify", method="lora")."""
    return task_run_maker(home, settings, tiny_model_folder, {**task_files, "chat": alpaca_file})
