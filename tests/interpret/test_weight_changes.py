"""What training changed: norms, effective ranks and shares against float64 and planted changes, read one matrix at a time."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from llmdemo.core.errors import UserError
from llmdemo.interpret import weight_changes
from llmdemo.interpret.run_changes import RunChanges
from llmdemo.interpret.weight_changes import Changes, effective_rank, layer_of

NAME = "model.layers.1.self_attn.q_proj.weight"


def folder(path, **tensors):
    path.mkdir()
    save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, path / "model.safetensors")
    return path


@pytest.fixture
def planted(tmp_path):
    """A change of rank 3 inside of a basis of rank 4, on a 24 × 40 matrix, and one of norm weights, which are no matrix."""
    torch.manual_seed(0)
    before, (basis, _) = torch.randn(24, 40), torch.linalg.qr(torch.randn(24, 4))
    change = basis[:, :3] @ torch.linalg.qr(torch.randn(40, 3))[0].T
    old = folder(
        tmp_path / "old", **{NAME: before, "model.norm.weight": torch.ones(8), "lm_head.weight": torch.ones(4, 4)}
    )
    new = folder(tmp_path / "new", **{NAME: before + change, "model.norm.weight": torch.zeros(8),
                                      "lm_head.weight": torch.ones(4, 4)})  # fmt: skip
    step = tmp_path / "step"
    step.mkdir()
    key = "basis/" + NAME.removesuffix(".weight") + "/left"
    save_file({key: basis.contiguous(), "state/x": torch.ones(1)}, step / "optimizer.safetensors")
    return old, new, step, before


@pytest.mark.parametrize(
    ("before", "after", "relative"), [(0.0, 0.0, 0.0), (0.0, 1.0, None), (1.0, float("nan"), None), (1.0, 1e38, None)]
)
def test_a_ratio_that_is_no_number_is_none_and_ends_nothing(tmp_path, before, after, relative):
    old, new = (folder(tmp_path / str(n), **{NAME: torch.full((4, 4), w)}) for n, w in enumerate((before, after)))
    (change,) = Changes(old, new).measured()
    assert change.relative == relative
    json.dumps(change.to_dict(), allow_nan=False)


def test_a_planted_change_is_measured(planted):
    old, new, step, before = planted
    still, moved = Changes(old, new, step).measured()
    assert (still.name, still.relative, still.effective_rank, still.inside) == ("lm_head.weight", 0, None, None)
    assert (moved.layer, moved.kind, moved.shape) == (1, "self_attn.q_proj", (24, 40))
    assert moved.relative == pytest.approx(3**0.5 / float(before.double().norm()), rel=1e-4)
    assert moved.effective_rank == pytest.approx(3, rel=1e-2)  # three equal singular values
    assert moved.inside == pytest.approx(1, abs=1e-4) and moved.by_chance == pytest.approx(4 / 24)


def test_a_change_outside_of_the_subspace_has_the_share_of_chance(planted, tmp_path):
    old, _, step, before = planted
    torch.manual_seed(1)
    other = folder(tmp_path / "other", **{NAME: before + torch.randn(24, 40)})
    (found,) = Changes(old, other, step).measured()
    assert found.inside == pytest.approx(found.by_chance, abs=0.05)
    assert Changes(old, other).measured().__next__().inside is None


def test_the_effective_rank_is_that_of_float64s_singular_values(monkeypatch):
    torch.manual_seed(2)
    matrix = torch.randn(30, 20) @ torch.diag(torch.logspace(0, -3, 20))
    values = torch.linalg.svdvals(matrix.double())
    shares = values / values.sum()
    wanted = float((-(shares * shares.log()).sum()).exp())
    of_squares = float((-((values**2 / (values**2).sum()) * (values**2 / (values**2).sum()).log()).sum()).exp())
    assert effective_rank(matrix) == (pytest.approx(wanted, rel=1e-3), False)
    assert abs(of_squares - wanted) > 0.3  # the share of energy, which is another measure
    monkeypatch.setattr(weight_changes, "_MOST_SIDE", 10)
    sketch, sketched = effective_rank(matrix)
    assert sketched and 0.5 * wanted < sketch < 1.1 * wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (NAME, (1, "self_attn.q_proj")),
        ("transformer.h.11.mlp.c_fc.weight", (11, "mlp.c_fc")),
        ("model.embed_tokens.weight", (None, "embed_tokens")),
    ],
)
def test_a_name_tells_its_layer(name, wanted):
    assert layer_of(name) == wanted


def test_models_that_share_no_matrix_are_refused_with_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no weight matrix"):
        Changes(folder(tmp_path / "a", x=torch.ones(2, 2)), folder(tmp_path / "b", x=torch.ones(3, 3)))
    broken = tmp_path / "c"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="model.safetensors"):
        Changes(broken, broken)


RUN = "run-20260101-000000-abcdef"


@pytest.fixture
def finished(home, starter, tiny_model_folder):
    """A run whose model is the starter with one matrix doubled."""
    target = home.runs / RUN / "model"
    shutil.copytree(tiny_model_folder, target)
    (target / "origin.json").write_text(json.dumps({"source": "run", "base": "starter"}))
    from safetensors.torch import load_file

    tensors = load_file(target / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"] *= 2
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return home


def test_a_runs_changes_come_in_parts_and_are_remembered(finished, monkeypatch):
    changes = RunChanges(finished)
    first = changes.part(RUN, 0, seconds=0)
    assert len(first["matrices"]) == 1 and first["next"] == 1 and first["total"] > 10
    rest = changes.part(RUN, 1, seconds=60)
    assert rest["next"] is None and len(rest["matrices"]) == first["total"] - 1
    (moved,) = [each for each in [*first["matrices"], *rest["matrices"]] if each["relative"]]
    assert (moved["layer"], moved["kind"], moved["relative"]) == (1, "mlp.up_proj", pytest.approx(1, rel=1e-5))
    monkeypatch.setattr(weight_changes, "effective_rank", None)  # nothing is computed twice
    assert changes.part(RUN, 0, seconds=60)["matrices"] == [*first["matrices"], *rest["matrices"]]


@pytest.mark.parametrize(("run_id", "start"), [("run-none", 0), ("../models", 0), (RUN, -1), (RUN, "x"), (RUN, 10_000)])
def test_runs_and_places_that_there_are_not_are_refused(run_id, start, finished):
    with pytest.raises(UserError):
        RunChanges(finished).part(run_id, start)
