"""A run's kept steps: each is the model of a run that was stopped there, within a bound on the disk, by every method."""

import copy
import gc
import json
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmdemo.core import store
from llmdemo.core.errors import UserError
from llmdemo.core.events import read_events
from llmdemo.core.sentences import readable_size
from llmdemo.models import catalog, steps
from llmdemo.models.load import load_causal
from llmdemo.models.step_models import StepModels
from llmdemo.training import worker
from llmdemo.training.loop import Loop
from llmdemo.training.objectives.base import Objective
from llmdemo.training.objectives.chat import Causal
from tests.training.conftest import events

METHODS = {
    "galore": {"method": "galore", "rank": 4, "learning_rate": 1e-2, "update_proj_gap": 100, "warmup_steps": 0},
    "refreshed": {"method": "galore", "rank": 4, "learning_rate": 1e-2, "update_proj_gap": 7, "warmup_steps": 0},
    "decayed": {"method": "galore", "rank": 4, "learning_rate": 1e-2, "weight_decay": 0.1, "warmup_steps": 0},
    "adamw": {"method": "adamw", "learning_rate": 1e-2, "warmup_steps": 0},
    "lora": {"method": "lora", "rank": 4, "learning_rate": 1e-2, "warmup_steps": 0},
}
BITWISE = ("adamw", "decayed")
"""Whole tensors: by weight decay a matrix leaves its bases' span."""


@pytest.fixture(autouse=True)
def without_samples(monkeypatch):
    monkeypatch.setattr(Causal, "answers", Objective.answers)


@pytest.fixture
def kept_run(run_on, tiny_model_folder):
    """Runs 20 steps, every fourth kept; returns its folder."""

    def make(stop=None, **changes):
        values = {"max_steps": 20, "eval_steps": 0, "keep_steps": 4, "precision": "fp32", "publish_dtype": "float32"}
        run_dir = run_on(tiny_model_folder, **{**values, "best_by": "last", **changes})
        ran(run_dir, stop)
        return run_dir

    return make


def ran(run_dir, stop=None):
    with pytest.MonkeyPatch.context() as patch:
        plain = Loop.run
        patch.setattr(
            Loop, "run", lambda self, ask, save: plain(self, lambda: self.progress.step == stop or ask(), save)
        )
        assert worker.main(run_dir) == 0, read_events(run_dir / "events.jsonl")[0][-1]


def logits(model):
    """In float64: what the weights make of it, without the rounding of the forward pass itself."""
    model = copy.deepcopy(model).double()
    ids = torch.tensor([[5, 9, 77, 120, 33, 8, 250, 17, 4, 99]])
    with torch.no_grad():
        return model(ids).logits


def model_of(home, model_id):
    return load_causal(catalog.resolve(home, model_id), torch.float32, "cpu")[0]


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.slow
def test_a_kept_step_is_the_model_of_a_run_that_was_stopped_there(kept_run, home, how):
    run_dir = kept_run(**METHODS[how])
    assert steps.steps_of(run_dir) == [0, 4, 8, 12, 16, 20]
    found = {step: model_of(home, f"{run_dir.name}@{step}") for step in (8, 16, 20)}
    assert (logits(found[8]) - logits(found[16])).abs().max() > 1e-2, "the run must learn to show anything"
    in_memory = StepModels()
    for step, model in found.items():
        entry = catalog.resolve_in_memory(home, f"{run_dir.name}@{step}")
        assert alike_in(in_memory.load(entry)[0], model), "the arena's models are those with a folder"
        alike = kept_run(stop=step, **METHODS[how]) if step < 20 else run_dir
        weights = load_file(alike / "checkpoints" / f"step-{step:06d}" / "weights.safetensors")
        expected = as_model(home, run_dir, weights, how)
        if how in BITWISE:
            assert alike_in(model, expected)
        assert (logits(model) - logits(expected)).abs().max() <= 1e-6


def alike_in(model, other) -> bool:
    pairs = zip(model.named_parameters(), other.named_parameters(), strict=True)
    return all(a == b and torch.equal(one, two) for (a, one), (b, two) in pairs)


def as_model(home, run_dir, weights, how):
    """The finished model with these trained weights in it, put there by torch alone."""
    model = model_of(home, run_dir.name)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        if how != "lora":
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)
            return model
        config = json.loads((run_dir / "config.json").read_text())
        base = dict(load_causal(catalog.resolve(home, config["model_id"]), torch.float32, "cpu")[0].named_parameters())
        for name, a in weights.items():
            if ".lora_A." in name:
                own = name.removeprefix("base_model.model.").replace(".lora_A.default", "")
                b = weights[name.replace(".lora_A.", ".lora_B.")]
                parameters[own].copy_(base[own] + b @ a)
    return model


def test_coefficients_take_less_room_than_matrices(kept_run, run_on, tiny_model_folder):
    low, whole = (kept_run(**METHODS[how]) for how in ("galore", "adamw"))
    low, whole = (load_file(each / "steps" / steps.file_of(8)) for each in (low, whole))
    name = "model.layers.0.mlp.gate_proj.weight"
    assert f"{name}{steps.LOW}" in low and name not in low and name in whole
    assert low[f"{name}{steps.LOW}"].numel() == whole[name].numel() * 4 // min(whole[name].shape)


def test_a_matrix_outside_of_its_span_is_kept_whole(kept_run):
    kept = load_file(kept_run(**METHODS["decayed"]) / "steps" / steps.file_of(8))
    assert not [name for name in kept if name.endswith(steps.LOW)]


def test_a_resumed_run_keeps_the_same_steps(kept_run):
    whole, parted = kept_run(**METHODS["refreshed"]), kept_run(stop=10, **METHODS["refreshed"])
    assert steps.steps_of(parted) == [0, 4, 8]
    ran(parted)
    assert steps.steps_of(parted) == steps.steps_of(whole) == [0, 4, 8, 12, 16, 20]
    for step in (0, 8, 12, 20):
        expected, found = (steps.KeptSteps(run_dir).weights(step) for run_dir in (whole, parted))
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            assert abs(found[name] - values).max() <= 1e-6


def test_over_the_bound_every_other_step_is_left_out_and_the_bound_is_kept(kept_run, home):
    size = store.folder_bytes(kept_run(**METHODS["adamw"], max_steps=40) / "steps")
    bound = 0.5 * size / 1e9
    run_dir = kept_run(**METHODS["adamw"], max_steps=40, keep_steps_gb=bound)
    assert store.folder_bytes(run_dir / "steps") <= bound * 1e9
    known = steps.steps_of(run_dir)
    assert known[0] == 0 and known[-1] == 40 and len(known) >= 3
    assert {b - a for a, b in zip(known, known[1:], strict=False)} <= {8, 16, 24}
    for event in events(run_dir, "kept_steps"):
        assert event["bytes"] <= bound * 1e9 + 1e4
    with pytest.raises(UserError, match="was kept and later dropped"):
        catalog.resolve(home, f"{run_dir.name}@4")
    assert f"at most {readable_size(bound * 1e9)} in total" in " ".join(
        event["message"] for event in events(run_dir, "note")
    )


def test_a_bound_that_holds_no_second_step_is_said_and_the_run_goes_on(kept_run):
    run_dir = kept_run(**METHODS["adamw"], keep_steps_gb=0.0001)
    assert store.folder_bytes(run_dir / "steps") <= 1e5
    assert "No more steps are kept" in " ".join(event["message"] for event in events(run_dir, "note"))
    assert events(run_dir, "end")[-1]["state"] == "completed"


@pytest.mark.parametrize(
    ("step", "words"), [(5, "Take .*@4 or .*@8"), (99, "the last kept step is 20"), (1_000_000, "not kept")]
)
def test_a_wrong_step_is_a_sentence_that_names_its_neighbours(kept_run, home, step, words):
    run_dir = kept_run(**METHODS["adamw"])
    with pytest.raises(UserError, match=words):
        catalog.resolve(home, f"{run_dir.name}@{step}")


def test_a_run_without_kept_steps_and_damaged_ones_are_sentences(kept_run, home):
    plain = kept_run(**METHODS["adamw"], keep_steps=0)
    with pytest.raises(UserError, match="kept no intermediate steps"):
        catalog.resolve(home, f"{plain.name}@4")
    run_dir = kept_run(**METHODS["adamw"])
    (run_dir / "steps" / steps.file_of(8)).write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="damaged or gone"):
        catalog.resolve(home, f"{run_dir.name}@8")
    save_file({"a": torch.ones(2)}, run_dir / "steps" / steps.file_of(12))
    with pytest.raises(UserError, match="other names than those"):
        catalog.resolve(home, f"{run_dir.name}@12")
    assert not list((run_dir / "at").glob("step-*")), "nothing half made is left"


def test_steps_in_memory_share_what_was_not_trained_and_write_no_folder(kept_run, home):
    run_dir = kept_run(**METHODS["lora"])
    in_memory = StepModels()
    entries = {step: catalog.resolve_in_memory(home, f"{run_dir.name}@{step}") for step in (4, 8)}
    four, eight = (dict(in_memory.load(entry)[0].named_parameters()) for entry in entries.values())
    shared = {name for name in four if four[name] is eight[name]}
    assert "model.embed_tokens.weight" in shared and "model.layers.0.mlp.up_proj.weight" not in shared
    assert not (run_dir / "at").exists() and entries[8].title.endswith("@8")
    with pytest.raises(UserError, match="not kept"):
        catalog.resolve_in_memory(home, f"{run_dir.name}@5")
    (run_dir / "steps" / steps.file_of(8)).write_bytes(b"x" * 100)
    save_file({"a": torch.ones(2)}, run_dir / "steps" / steps.file_of(12))
    with pytest.raises(UserError, match="damaged or gone"):
        in_memory.load(entries[8])
    with pytest.raises(UserError, match="other names than those"):
        in_memory.load(catalog.resolve_in_memory(home, f"{run_dir.name}@12"))


def test_what_steps_share_leaves_the_memory_when_another_model_is_loaded(kept_run, home):
    run_dir, in_memory = kept_run(**METHODS["lora"]), StepModels()
    in_memory.load(catalog.resolve_in_memory(home, f"{run_dir.name}@4"))
    kept = weakref.ref(in_memory._run)
    in_memory.load(catalog.resolve(home, run_dir.name))
    gc.collect()
    assert kept() is None


def test_few_made_models_lie_on_the_disk_and_the_menu_does_not_list_them(kept_run, home):
    run_dir = kept_run(**METHODS["galore"])
    for step in (0, 4, 8, 12, 16):
        entry = catalog.resolve(home, f"{run_dir.name}@{step}")
        assert entry.title.endswith(f"@{step}") and entry.kind == "run"
    assert len(list((run_dir / "at").glob("step-*"))) == steps.MOST_MADE
    assert [entry.id for entry in catalog.list_models(home) if entry.kind == "run"] == [run_dir.name]


def test_what_rounding_left_is_kept_in_half_a_byte_a_value(tmp_path):
    from llmdemo.models.steps import _of_4_bits
    from llmdemo.training.steps import in_4_bits

    torch.manual_seed(0)
    values = torch.randn(7, 9) * 1e-8
    packed, unit = in_4_bits(values)
    assert packed.numel() == 32 and packed.dtype == torch.uint8
    again = torch.from_numpy(_of_4_bits(packed.numpy(), np.float32(unit), 63)).view(7, 9)
    inside = values.abs() <= 7.5 * unit
    assert (again - values)[inside].abs().max() <= 0.501 * unit and (again[~inside].abs() == 7 * np.float32(unit)).all()
    widest = values.abs().max() / 7  # the unit that cuts nothing is coarser for all
    assert (again - values).square().mean() < ((values / widest).round() * widest - values).square().mean()
    even = torch.linspace(-1, 1, 15)
    assert in_4_bits(even)[1] == pytest.approx(1 / 7)  # nothing is far out: nothing is cut
    nothing, unit = in_4_bits(torch.zeros(3, 3))
    assert unit == 0.0 and (_of_4_bits(nothing.numpy(), np.float32(0), 9) == 0).all()
