"""What is published is what was trained: the files' held-out loss is the run's last, whatever type they are in."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.arena.cache import expected_bytes
from llmdemo.core import store
from llmdemo.core.sentences import in_language
from llmdemo.evaluation import classifier
from llmdemo.evaluation.likelihood import row_losses
from llmdemo.models.check import check_folder
from llmdemo.models.load import load_causal, usual_dtype
from llmdemo.training import narrow, publish, worker
from llmdemo.training.batches import load_rows
from llmdemo.training.narrow import Losses, rounded
from llmdemo.training.objectives.preference_losses import Answers, pair_losses
from llmdemo.training.prepare import read_config
from tests.conftest import own_model
from tests.training.conftest import events

TASKS = ("chat", "text", "classify", "preference")
LOW_RATES = {"galore": 1e-5, "adamw": 1e-5, "lora": 2e-4}


@pytest.fixture(scope="session")
def bf16_folder(tmp_path_factory, tiny_model_folder):
    """The tiny model in bfloat16, as most models are on the hub."""
    folder = tmp_path_factory.mktemp("bf16") / "tiny-bf16"
    AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model_folder).save_pretrained(folder)
    return own_model(folder)


def losses_of(model, tokenizer, rows):
    """(sum of -log p, labels) of each row, or of each document where several stand in a row."""
    starts = rows.offsets if rows.positions is None else [*(rows.positions == 0).nonzero()[0], len(rows.ids)]
    lists = [
        SimpleNamespace(input_ids=rows.ids[a:b].tolist(), labels=[-100, *rows.labels[a + 1 : b].tolist()])
        for a, b in zip(starts[:-1], starts[1:], strict=True)
    ]
    return row_losses(model, lists, tokenizer.pad_token_id)


def evaluated(run_dir, folder, base):
    """The held-out loss of the model in `folder`, computed with what Evaluate computes with."""
    config, rows = read_config(run_dir), load_rows(run_dir / "data.safetensors")["held_out"]
    if config.task == "classify":
        model, tokenizer = classifier.load(SimpleNamespace(path=folder, title="it"))
        found = [
            model(input_ids=torch.from_numpy(rows.ids[a:b].astype("int64"))[None]).logits[0].float()
            for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)
        ]
        return functional.cross_entropy(torch.stack(found), torch.from_numpy(rows.classes.astype("int64"))).item()
    model, tokenizer = load_causal(folder, torch.float32, "cpu")
    found = losses_of(model, tokenizer, rows)
    if config.task != "preference":
        return sum(loss for loss, _ in found) / sum(count for _, count in found)
    reference, _ = load_causal(base, torch.float32, "cpu")
    ratios = torch.tensor([b - a for (a, _), (b, _) in zip(found, losses_of(reference, tokenizer, rows), strict=True)])
    chosen, rejected = (Answers(side, side, torch.ones_like(side)) for side in (ratios[0::2], ratios[1::2]))
    return pair_losses(chosen, rejected, config).mean().item()  # DPO's, which asks for the gain alone


def short_run(task_run, task, folder, **changes):
    values = {
        "max_steps": 3,
        "eval_steps": 0,
        "precision": "fp32",
        "warmup_steps": 0,
        "schedule": "constant",
        "rank": 4,
        "best_by": "last",
    }
    run_dir = task_run(task, model_id=str(folder), **values, **changes)
    assert worker.main(run_dir) == 0
    first, last = (event["loss"] for event in events(run_dir, "eval"))
    (told,) = events(run_dir, "published")
    assert told["run_loss"] == pytest.approx(last, abs=1e-6)
    assert told["dtype"] == store.read_json(run_dir / "model" / "origin.json")["dtype"]
    assert f"| weights | {told['dtype']}" in (run_dir / "model" / "README.md").read_text()
    return run_dir, first, last, told


@pytest.mark.parametrize("method", ["galore", "adamw", "lora"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.slow
def test_the_published_model_has_the_runs_last_held_out_loss(task_run, bf16_folder, home, task, method):
    run_dir, first, last, _ = short_run(
        task_run, task, bf16_folder, method=method, learning_rate=LOW_RATES[method], publish_dtype="float32"
    )
    assert evaluated(run_dir, run_dir / "model", bf16_folder) == pytest.approx(last, abs=3e-6)
    # What was done before: all weights to the nearest bfloat16, the type of the base model's files.
    load, old = classifier.load if task == "classify" else load_causal, home.tmp / "old"
    model, tokenizer = load(SimpleNamespace(path=run_dir / "model", title=""))
    model.to(torch.bfloat16).save_pretrained(old)
    tokenizer.save_pretrained(old)
    assert abs(evaluated(run_dir, old, bf16_folder) - last) > 0.1 * abs(first - last)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.slow
def test_what_is_narrowed_by_itself_stays_within_what_is_allowed(task_run, bf16_folder, task):
    run_dir, first, last, told = short_run(task_run, task, bf16_folder, learning_rate=3e-4)
    found = evaluated(run_dir, run_dir / "model", bf16_folder)
    assert abs(found - last) <= min(0.005 * abs(last), 0.05 * abs(first - last)) + 3e-6
    assert (
        told["message"]
        and check_folder(run_dir / "model").dtype == {"float32": "F32", "bfloat16": "BF16"}[told["dtype"]]
    )
    if told["dtype"] == "bfloat16":
        assert told["loss"] == pytest.approx(found, abs=3e-6)


def test_a_base_in_float32_is_published_in_it_without_a_word(make_run):
    run_dir = make_run(max_steps=1, eval_steps=0)
    assert worker.main(run_dir) == 0
    (told,) = events(run_dir, "published")
    assert (told["dtype"], told["rounding"], told["loss"], told["message"]) == ("float32", "", None, "")


def test_without_held_out_records_nothing_is_narrowed_and_that_is_said(task_run, bf16_folder):
    run_dir = task_run("chat", model_id=str(bf16_folder), max_steps=1, eval_share=0.0)
    assert worker.main(run_dir) == 0
    assert check_folder(run_dir / "model").dtype == "F32"
    assert any("nothing was held out" in event["message"] for event in events(run_dir, "note"))


def test_what_is_asked_for_is_done_and_what_it_costs_is_told(task_run, bf16_folder):
    run_dir = task_run(
        "chat", model_id=str(bf16_folder), max_steps=2, publish_dtype="bfloat16", precision="fp32", best_by="last"
    )
    assert worker.main(run_dir) == 0
    (told,) = events(run_dir, "published")
    assert check_folder(run_dir / "model").dtype == "BF16" and told["dtype"] == "bfloat16"
    assert told["loss"] == pytest.approx(evaluated(run_dir, run_dir / "model", bf16_folder), rel=1e-5)
    assert json.loads((run_dir / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    assert sorted(path.name for path in (run_dir / "model").iterdir() if path.is_dir()) == []


def test_weights_that_were_trained_in_bfloat16_are_published_as_they_are(task_run, bf16_folder):
    run_dir = task_run("chat", model_id=str(bf16_folder), max_steps=2, precision="bf16_pure", best_by="last")
    assert worker.main(run_dir) == 0
    folder = sorted((run_dir / "checkpoints").iterdir())[-1]
    trained, saved = load_file(folder / "weights.safetensors"), load_file(run_dir / "model" / "model.safetensors")
    assert all(torch.equal(trained[name], saved[name]) for name in saved)


def test_adapters_over_bfloat16_weights_are_merged_in_float32(task_run, bf16_folder):
    run_dir = task_run(
        "chat",
        model_id=str(bf16_folder),
        method="lora",
        max_steps=3,
        precision="bf16_pure",
        publish_dtype="float32",
        best_by="last",
    )
    assert worker.main(run_dir) == 0
    base, saved = (load_file(folder / "model.safetensors") for folder in (bf16_folder, run_dir / "model"))
    name = "model.layers.0.self_attn.q_proj.weight"
    adapters = load_file(sorted((run_dir / "checkpoints").iterdir())[-1] / "weights.safetensors")
    a, b = (next(v for k, v in adapters.items() if "layers.0.self_attn.q_proj.lora_" + side in k) for side in "AB")
    assert events(run_dir, "published")[-1]["dtype"] == "float32"
    torch.testing.assert_close(saved[name], base[name].float() + b.float() @ a.float(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("losses", "chosen"), [((0.95, 1.004), "stochastic"), ((1.003, 1.1), "nearest"),
                                                ((1.006, 1.2), "float32"), ((None, None), "float32"),
                                                ((1.0004,), "nearest"), ((1.0006, 1.0005), "stochastic")])  # fmt: skip
def test_the_type_is_chosen_by_what_the_files_lose(tmp_path, bf16_folder, losses, chosen):
    folder = tmp_path / "model"
    AutoModelForCausalLM.from_pretrained(bf16_folder, dtype=torch.float32).save_pretrained(
        folder, max_shard_size="50KB"
    )
    AutoTokenizer.from_pretrained(bf16_folder).save_pretrained(folder)
    shards, asked = len(list(folder.glob("*.safetensors"))), []

    def judge(path):
        assert AutoModelForCausalLM.from_pretrained(path).dtype == torch.bfloat16
        asked.append(path.name)
        return losses[len(asked) - 1]

    found = narrow.narrow(folder, "auto", bf16_folder, Losses(2.0, 1.0), judge)
    assert asked == ["nearest", "stochastic"][: len(losses)] and shards == len(list(folder.glob("*.safetensors"))) > 1
    assert (found.rounding or found.dtype) == chosen and found.message
    assert not {"nearest", "stochastic"} & set(re.findall(r"\w+", in_language(found.message, "zh-TW")))
    dtype = "float32" if chosen == "float32" else "bfloat16"
    assert str(AutoModelForCausalLM.from_pretrained(folder).dtype) == f"torch.{dtype}" == f"torch.{found.dtype}"
    size = sum(t.numel() * t.element_size() for file in folder.glob("*.safetensors") for t in load_file(file).values())
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == size and not [path for path in folder.iterdir() if path.is_dir()]


def moved(source, folder, by):
    """The model in `source`, its weights in float32 and each moved by that share of itself, in `folder`."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + by)
    model.save_pretrained(folder, max_shard_size="50KB")
    return folder


@pytest.mark.parametrize(("by", "least", "most"), [(1e-4, 1, 1), (1e-3, 0.5, 1), (0.1, -0.01, 0.01), (0, 0, 0)])
def test_what_nearest_rounding_takes_back_is_its_errors_share_of_the_change(tmp_path, bf16_folder, by, least, most):
    folder = moved(bf16_folder, tmp_path / "model", by)
    assert least <= narrow.undone(folder, bf16_folder, torch.bfloat16) <= most
    assert narrow.undone(folder, folder, torch.bfloat16) == 0


BOTH = ["nearest", "stochastic"]


@pytest.mark.parametrize(
    ("wanted", "by", "autocasts", "judged"),
    [
        ("auto", 1e-3, False, ["stochastic"]),
        ("auto", 1e-3, True, BOTH),
        ("auto", 0.1, False, BOTH),
        ("bfloat16", 1e-3, False, BOTH),
    ],
)
def test_a_rounding_that_takes_the_run_back_is_not_judged_unless_asked_for_or_computed_with(
    tmp_path, bf16_folder, wanted, by, autocasts, judged
):
    folder, asked = moved(bf16_folder, tmp_path / "model", by), []
    found = narrow.narrow(
        *(folder, wanted, bf16_folder, Losses(2.0, 1.0), lambda path: asked.append(path.name) or 1.004),
        autocasts=autocasts,
    )
    assert asked == judged and found.dtype == "bfloat16" and found.rounding == judged[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_of_a_run_on_a_cpu_is_not_that_of_rounded_weights(task_run, bf16_folder, monkeypatch, precision):
    """Mutation: as where evaluations are under autocast, nearest rounding taken for what the run's own loss is of."""
    told = []
    plain = publish.narrow
    monkeypatch.setattr(publish, "narrow", lambda *values: told.append(values[-1]) or plain(*values))
    assert worker.main(task_run("chat", model_id=str(bf16_folder), max_steps=1, precision=precision)) == 0
    assert told == [False]


def test_a_run_that_changed_little_is_not_rounded_away():
    """DPO from 0.6931 to 0.6915: to lose all of it would be within 0.5 % of the loss."""
    assert Losses(0.6931, 0.6915).allowed == pytest.approx(0.05 * 0.0016)
    assert Losses(1.4, 0.9).allowed == pytest.approx(0.0045)


def test_stochastic_rounding_is_right_in_the_mean_and_never_more_than_a_step_off():
    generator = torch.Generator().manual_seed(1)
    for value in (1.001, -1.001, 3e-39, 1.0, 0.0):
        got = rounded(torch.full((200_000,), value), torch.bfloat16, "stochastic", generator)
        steps = got.unique().float()
        assert got.dtype == torch.bfloat16 and len(steps) <= 2
        spread = 0.0 if len(steps) == 1 else float(steps[1] - steps[0])
        assert abs(got.double().mean().item() - torch.tensor(value).item()) <= 0.005 * spread + 1e-12 * abs(value)
    edges = torch.tensor([float("inf"), float("-inf"), float("nan"), torch.finfo(torch.float32).max])
    got = rounded(edges, torch.bfloat16, "stochastic", generator).float()
    assert got[0] == float("inf") and got[1] == float("-inf") and got[2].isnan() and got[3] > 3e38


def test_a_model_written_in_float32_because_less_would_lose_is_used_in_it(tmp_path, tiny_model_folder, monkeypatch):
    import shutil

    from llmdemo.models import load

    monkeypatch.setattr(load, "cpu_has_bf16", lambda: True)
    folder, device = tmp_path / "m", torch.device("cpu")
    shutil.copytree(tiny_model_folder, folder)
    assert usual_dtype(folder, device) == torch.bfloat16, "a model from elsewhere: the fast type"
    for dtype, used in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        (folder / "origin.json").write_text(json.dumps({"source": "run", "dtype": dtype}))
        entry = SimpleNamespace(path=folder, parameters=1000, bytes=4000, at_step=None)
        assert usual_dtype(folder, device) == used == load_causal(folder, device="cpu")[0].dtype
        assert usual_dtype(SimpleNamespace(path=None), device) == torch.bfloat16
        monkeypatch.setattr("llmdemo.arena.cache.best_device", lambda: device)
        assert expected_bytes(entry, "auto") == 1000 * used.itemsize
