"""The best evaluation's weights are kept on the way and published; what is kept survives a kill; patience ends a run."""

import errno
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.data.ingest import add_dataset
from llmdemo.models import catalog
from llmdemo.runs.digest import Digest
from llmdemo.training import TrainConfig, best, worker
from llmdemo.training.loop import Loop
from llmdemo.training.objectives.base import Objective
from llmdemo.training.objectives.chat import Causal, Chat
from llmdemo.training.objectives.classify import Classify
from llmdemo.training.objectives.preference import Preference
from tests.training.conftest import events

RATES = {"galore": 3e-2, "adamw": 3e-2, "lora": 9e-2}
"""So high that the held-out loss is lowest some steps before the last."""


@pytest.fixture(autouse=True)
def without_samples(monkeypatch):
    """Nothing is written at evaluations: it takes longer than all else on a tiny model."""
    for objective in (Causal, Preference):
        monkeypatch.setattr(objective, "answers", Objective.answers)


@pytest.fixture
def hundred(home, settings, tmp_path, tiny_model_folder):
    """Makes a run of 10 epochs on a hundred rows whose answers cannot be told from the questions: it overfits."""
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n * 7919 % 997} {n * 31 % 89}"} for n in range(100)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    dataset_id = add_dataset(home, settings, path, "rows").dataset_id

    def make(**changes):
        run_dir = home.runs / store.new_id("run")
        run_dir.mkdir()
        method = changes.get("method", "galore")
        values = {
            "dataset_id": dataset_id, "model_id": str(tiny_model_folder), "method": method, "rank": 8, "batch_size": 45,
            "max_steps": 20, "eval_steps": 4, "learning_rate": RATES[method], "schedule": "constant", "warmup_steps": 0,
            "update_proj_gap": 20, "precision": "fp32", "publish_dtype": "float32", "split_version": 2,
        }  # fmt: skip
        store.write_json(run_dir / "config.json", values | changes)
        return run_dir

    return make


def notes(run_dir):
    return " ".join(event["message"] for event in events(run_dir, "note"))


def status(run_dir):
    digest = Digest()
    for event in read_events(run_dir / "events.jsonl")[0]:
        digest.feed(event)
    return digest.status()


def lowest(run_dir):
    """(step, loss) of the first of the lowest points of the curve that the run told."""
    return min(((event["step"], event["loss"]) for event in events(run_dir, "eval")), key=lambda point: point[1])


def ran(run_dir, stop=None, monkeypatch=None):
    if stop is None:
        assert worker.main(run_dir) == 0, events(run_dir, "end")
        return run_dir
    with monkeypatch.context() as patch:
        plain = Loop.run
        patch.setattr(
            Loop, "run", lambda self, ask, save: plain(self, lambda: self.progress.step == stop or ask(), save)
        )
        assert worker.main(run_dir) == 0
    return run_dir


def weights_at(run_dir, step):
    return load_file(run_dir / "checkpoints" / f"step-{step:06d}" / "weights.safetensors")


def is_made_of(model, weights, base, method, scale):
    """Whether the published tensors are, bit for bit, these trained weights: for LoRA, merged into the base model's."""
    saved = load_file(model / "model.safetensors")
    if method != "lora":
        return all(torch.equal(saved[name], weights[name]) for name in saved)
    start = load_file(base / "model.safetensors")
    for name, tensor in start.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        a, b = (weights.get(f"{stem}.lora_{side}.default.weight") for side in "AB")
        expected = tensor if a is None else tensor + (b @ a) * scale
        if not torch.equal(saved[name], expected):
            return False
    return True


@pytest.mark.parametrize("method", ["galore", "adamw", "lora"])
@pytest.mark.slow
def test_a_run_that_overfits_publishes_the_minimum_of_the_curve(hundred, tiny_model_folder, monkeypatch, method):
    run_dir = ran(hundred(method=method, keep_last=True))
    step, loss = lowest(run_dir)
    last = events(run_dir, "eval")[-1]
    assert 0 < step < 20 and last["loss"] > loss, "the run must overfit to show anything"
    stopped = ran(hundred(method=method), step, monkeypatch)
    scale = TrainConfig.from_dict({"dataset_id": "x", "method": method}).resolved().scale
    made = (tiny_model_folder, method, scale)
    assert is_made_of(run_dir / "model", weights_at(stopped, step), *made)
    assert not is_made_of(run_dir / "model", weights_at(run_dir, 20), *made), "the last step's would be seen"
    assert is_made_of(run_dir / "model-last", weights_at(run_dir, 20), *made)
    told = events(run_dir, "published")[-1]
    assert (told["step"], told["last_step"]) == (step, 20)
    assert told["run_loss"] == pytest.approx(loss, abs=1e-6)
    assert told["last_loss"] == pytest.approx(last["loss"], abs=1e-6)
    known = status(run_dir)
    assert (known["best_step"], known["best_eval_loss"]) == (step, loss)
    assert (known["published"]["step"], known["published"]["last_step"]) == (step, 20)
    assert f"The weights of step {step}" in notes(run_dir) and f"{last['loss']:.4f}"[:4] in notes(run_dir)
    card = (run_dir / "model" / "README.md").read_text()
    assert f"| published step | {step} |" in card and "held-out loss at the last step, which is not published" in card
    assert not (run_dir / "best").exists(), "what is published needs no second copy"


def test_each_improvement_is_written_once_and_nothing_else(hundred, monkeypatch):
    written, plain = [], best.keep
    monkeypatch.setattr(best, "keep", lambda *given: (written.append(given[2].step), plain(*given)))
    run_dir = ran(hundred(eval_steps=2))
    curve = [(event["step"], event["loss"]) for event in events(run_dir, "eval")]
    better = [step for n, (step, loss) in enumerate(curve) if all(loss < other for _, other in curve[:n])]
    assert [event["step"] for event in events(run_dir, "best")] == better
    assert written == [step for step in better if 0 < step < 20] and written and len(better) < len(curve)


def test_of_lora_only_the_adapters_are_kept(hundred, monkeypatch):
    run_dir = ran(hundred(method="lora", max_steps=12), 8, monkeypatch)
    kept = load_file(run_dir / "best" / "weights.safetensors")
    assert kept and all("lora_" in name for name in kept)


def killed_after(monkeypatch, step):
    """Ends the worker as a kill would, after that step and without a checkpoint of it."""
    plain = Loop._step

    def dying(self):
        if self.progress.step == step:
            raise KeyboardInterrupt
        plain(self)

    monkeypatch.setattr(Loop, "_step", dying)


@pytest.mark.parametrize("method", ["galore", "lora"])
@pytest.mark.slow
def test_a_run_that_is_killed_after_its_best_step_publishes_it_bit_for_bit(hundred, monkeypatch, method):
    whole = ran(hundred(method=method))
    step, _ = lowest(whole)
    assert 0 < step < 20 - 3, "it must go on after its best step"
    expected = load_file(whole / "model" / "model.safetensors")
    for checkpoint in (step - 3, step + 1, None):  # before the best, after it, never
        run_dir = hundred(method=method)
        if checkpoint:
            ran(run_dir, checkpoint, monkeypatch)
        with monkeypatch.context() as patch:
            killed_after(patch, step + 3)
            with pytest.raises(KeyboardInterrupt):
                worker.main(run_dir)
        assert best.kept(run_dir).step == step
        written = (run_dir / "best" / "weights.safetensors").stat().st_mtime_ns
        with monkeypatch.context() as patch:
            patch.setattr(best, "drop", lambda run_dir: None)
            ran(run_dir)
        assert (run_dir / "best" / "weights.safetensors").stat().st_mtime_ns == written, "it was written again"
        found = load_file(run_dir / "model" / "model.safetensors")
        assert all(torch.equal(expected[name], found[name]) for name in expected), checkpoint
        assert status(run_dir)["best_step"] == step


@pytest.mark.slow
def test_kept_weights_that_were_damaged_are_said_and_the_best_after_them_counts(hundred, monkeypatch):
    step, _ = lowest(ran(hundred(eval_steps=2)))
    run_dir = ran(hundred(eval_steps=2), step + 1, monkeypatch)
    path = run_dir / "best" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    assert best.kept(run_dir) is None
    ran(run_dir)
    later = min((event["loss"], event["step"]) for event in events(run_dir, "eval") if event["step"] > step)
    assert step < later[1] < 20, "of those after it, the last must not be the best"
    assert "are not kept" in notes(run_dir) and events(run_dir, "published")[-1]["step"] == later[1]


def curve_of(monkeypatch, losses, **figures):
    """The evaluations give these losses, and these figures, whatever the weights are."""
    seen = iter(range(10**6))

    def evaluate(self, last=True):
        n = next(seen)
        return {"loss": losses[n], **{name: values[n] for name, values in figures.items()}}, 4

    for objective in (Causal, Classify, Preference):
        monkeypatch.setattr(objective, "evaluate", evaluate)
    monkeypatch.setattr(Classify, "on_the_way", Objective.on_the_way)
    monkeypatch.setattr(Classify, "answers", Objective.answers)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([3.0, 1.0, 1.0, 1.0, 2.0], 2),
        ([3.0, math.nan, 2.0, math.nan, 2.5], 4),
        ([math.nan, math.inf, 2.0, 1.0, math.nan], 6),
        ([2.0, 2.0, 2.0, 2.0, 2.0], 0),
        ([1.0, 2.0, 2.0, 2.0, 2.0], 0),
        ([3.0, 2.0, 1.5, 1.2, 1.0], 8),
        ([math.nan] * 5, 8),
    ],
    ids=["ties", "NaN", "NaN first and last", "flat", "worse from the start", "better to the end", "all NaN"],
)
@pytest.mark.slow
def test_the_first_of_the_lowest_is_published_and_nan_never_is(hundred, tiny_model_folder, monkeypatch, losses, step):
    curve_of(monkeypatch, losses)
    run_dir = ran(hundred(max_steps=8, eval_steps=2))
    assert events(run_dir, "published")[-1]["step"] == step
    if step == 0:
        assert is_made_of(run_dir / "model", load_file(tiny_model_folder / "model.safetensors"), None, "galore", 1)
        assert "which learned nothing" in notes(run_dir)
    if math.isnan(losses[0]) and math.isnan(losses[2]):
        assert "No evaluation is known to be the best" in notes(run_dir)


def test_patience_ends_a_run_as_completed_with_the_reason(hundred, monkeypatch):
    curve_of(monkeypatch, [3.0, 2.0, 2.5, math.nan, 2.0, 1.0])
    run_dir = ran(hundred(max_steps=60, eval_steps=2, patience=3))
    end = events(run_dir, "end")[-1]
    assert end["state"] == "completed" and end["message"].startswith("Ended early at step 8 of 60")
    assert "Ended early at step 8" in notes(run_dir)
    assert [event["step"] for event in events(run_dir, "step")] == list(range(1, 9))
    assert events(run_dir, "published")[-1]["step"] == 2


def test_patience_counts_on_after_a_resume_and_is_off_by_default(hundred, monkeypatch):
    losses = [3.0, 2.0, 2.5, 2.6, 2.7, 2.8]
    with monkeypatch.context() as patch:
        curve_of(patch, losses)
        run_dir = ran(hundred(max_steps=60, eval_steps=2, patience=3), 7, monkeypatch)
        ran(run_dir)
    assert events(run_dir, "eval")[-1]["step"] == 8 and events(run_dir, "published")[-1]["step"] == 2
    curve_of(monkeypatch, losses)
    assert events(ran(hundred(max_steps=10, eval_steps=2)), "step")[-1]["step"] == 10


def test_the_last_is_published_on_request_and_nothing_is_kept_on_the_way(hundred, monkeypatch):
    monkeypatch.setattr(best, "keep", lambda *_: pytest.fail("nothing is to be kept"))
    run_dir = ran(hundred(best_by="last"))
    assert 0 < lowest(run_dir)[0] < 20 and events(run_dir, "published")[-1]["step"] == 20
    assert is_made_of(run_dir / "model", weights_at(run_dir, 20), None, "galore", 1)
    assert status(run_dir)["best_step"] == lowest(run_dir)[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eval_share": 0.0, "patience": 2}, "Nothing is held out"),
        ({"eval_steps": 0}, "only before its first step and after its last"),
        ({"eval_steps": 0, "patience": 2}, "Patience has no effect"),
        ({"best_by": "last", "keep_last": True}, "keep_last has no effect"),
        ({}, "twice that while they are replaced"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_the_best_is_said_before_the_first_step(hundred, changes, words):
    run_dir = ran(hundred(max_steps=4, **{"eval_steps": 2, **changes}))
    kinds = read_events(run_dir / "events.jsonl")[0]
    first = next(n for n, event in enumerate(kinds) if event["type"] == "step")
    assert words in " ".join(event["message"] for event in kinds[:first] if event["type"] == "note")
    if changes.get("eval_share") == 0.0:
        assert events(run_dir, "published")[-1]["step"] == 4 and not events(run_dir, "best")


def test_a_disk_without_room_for_the_best_is_said_before_the_first_step(hundred, monkeypatch):
    run_dir = hundred()
    monkeypatch.setattr(store, "free_bytes", lambda folder: 1000)
    assert worker.main(run_dir) == 1
    end = events(run_dir, "end")[-1]
    assert end["reason"] == "disk_full" and "best evaluation" in end["message"] and not events(run_dir, "step")


def test_a_disk_that_fills_up_keeps_the_best_before(hundred, monkeypatch, tmp_path):
    weights = {"a": torch.ones(3)}
    best.keep(tmp_path, weights, best.Best(1, {"loss": 2.0}, (2.0,)))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(best, "save_file", full)
    with pytest.raises(OSError, match="full"):
        best.keep(tmp_path, {"a": torch.zeros(3)}, best.Best(2, {"loss": 1.0}, (1.0,)))
    assert best.kept(tmp_path).step == 1 and [p.name for p in (tmp_path / "best").iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize("told", [None, "", "[]", '{"step": 1}', '{"step": 1, "figures": {"loss": NaN}, "order": [1]}'])
def test_a_file_from_elsewhere_is_no_best_step(tmp_path, told):
    (tmp_path / "best").mkdir()
    tensors = {"a": torch.ones(2)}
    metadata = None if told is None else {"best": told, "sha256": best._hash(tensors, tensors.__getitem__)}
    save_file(tensors, tmp_path / "best" / "weights.safetensors", metadata=metadata)
    assert best.kept(tmp_path) is None


def test_the_catalog_shows_the_last_beside_the_best(hundred, home, monkeypatch):
    curve_of(monkeypatch, [3.0, 1.0, 2.0, 2.0, 1.0])
    run_dir, plain = ran(hundred(max_steps=4, eval_steps=2, keep_last=True)), ran(hundred(max_steps=2, keep_last=True))
    entries = {entry.id: entry for entry in catalog.list_models(home) if entry.kind == "run"}
    last = f"{run_dir.name}@last"
    assert set(entries) == {run_dir.name, last, plain.name}, "where the best is the last, there is one model"
    assert entries[last].path == run_dir / "model-last" and entries[last].title.endswith("@last")
    with pytest.raises(UserError, match="no model of its last step"):
        catalog.resolve(home, f"{plain.name}@last")
    with pytest.raises(UserError, match="is not an id"):
        catalog.resolve(home, "run-/../x@last")


# ---- the task's own figure


def test_a_task_without_a_figure_refuses_it_and_says_which_have_one():
    for task in ("chat", "text"):
        with pytest.raises(UserError, match="no figure of its own") as error:
            TrainConfig.from_dict({"dataset_id": "x", "task": task, "best_by": "figure"})
        assert "classify, preference" in error.value.hint


@pytest.mark.parametrize(("task", "name"), [("classify", "f1_macro"), ("preference", "reward_accuracy")])
@pytest.mark.parametrize(
    ("figures", "losses", "step"),
    [
        ([0.1, 0.9, 0.5, 0.9, 0.2], [5.0, 4.0, 3.0, 4.0, 1.0], 2),
        ([0.1, 0.9, 0.5, 0.9, 0.2], [5.0, 4.0, 3.0, 3.5, 1.0], 6),
        ([0.5] * 5, [5.0, 4.0, 3.0, 3.5, 3.0], 4),
        ([0.1, math.nan, 0.5, math.nan, 0.2], [5.0, 0.1, 3.0, 0.1, 1.0], 4),
    ],
    ids=["the first of equal ones", "of equal ones the lower loss", "flat: the loss decides", "NaN"],
)
@pytest.mark.slow
def test_the_highest_figure_is_published_by_choice(task_run, monkeypatch, task, name, figures, losses, step):
    curve_of(monkeypatch, losses, **{name: figures})
    run_dir = ran(task_run(task, max_steps=8, eval_steps=2, best_by="figure", publish_dtype="float32"))
    assert events(run_dir, "published")[-1]["step"] == step
    assert status(run_dir)["best_step"] == step


def test_evaluations_compare_on_the_same_texts(task_run, monkeypatch):
    """classify judges all texts at the end: that these are easier must not make the last step the best."""
    run_dir = task_run("classify", max_steps=6, eval_steps=2, eval_records=4, eval_share=0.5, publish_dtype="float32")
    plain, told = Classify.evaluate, []

    def evaluate(self, last=True):
        figures, count = plain(self, last)
        told.append((count, self._figures(min(count, 4))["loss"]))
        return figures, count

    monkeypatch.setattr(Classify, "evaluate", evaluate)
    ran(run_dir)
    assert [count for count, _ in told[:3]] == [4, 4, 4] and told[3][0] > 4
    losses = [loss for _, loss in told[:4]]
    assert events(run_dir, "best")[-1]["loss"] == pytest.approx(min(losses), abs=1e-6)
    assert status(run_dir)["best_step"] == 2 * losses.index(min(losses))


def test_the_chat_objective_compares_what_it_evaluates():
    figures = {"loss": 1.0}
    assert Chat.on_the_way(None, figures) is figures


def test_a_run_on_rewards_is_told_by_the_reward_that_its_page_shows():
    from llmdemo.training.ending import _told

    assert _told({"loss": 0.925}, TrainConfig("x", task="grpo")) == "held-out reward 7.5 %"
    assert _told({"loss": 0.925}, TrainConfig("x")) == "held-out loss 0.925"
