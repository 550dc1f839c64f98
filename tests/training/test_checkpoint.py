import hashlib
import json
import pickle

import pytest
import torch

from llmdemo.training import checkpoint as checkpoints
from llmdemo.training.checkpoint import Checkpoint


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "checkpoints", tmp_path / "scratch"


def make(step):
    tensors = {"weights": {"w": torch.full((2, 3), float(step))}, "optimizer": {"m": torch.arange(step + 1)}}
    return Checkpoint(step, tensors, {"progress": {"step": step}})


def test_a_checkpoint_comes_back_as_it_was(folders):
    checkpoints.save(*folders, make(5))
    found = checkpoints.newest(folders[0])
    assert found.step == 5 and found.numbers == {"progress": {"step": 5}}
    assert torch.equal(found.groups["weights"]["w"], torch.full((2, 3), 5.0))


def test_tensors_that_share_memory_come_back_as_they_were(folders):
    """bitsandbytes' 8-bit states share one quantisation map."""
    shared = torch.arange(6.0)
    groups = {"optimizer": {"a": shared, "b": shared, "c": shared[2:4], "d": torch.zeros(0), "e": torch.zeros(0)}}
    checkpoints.save(*folders, Checkpoint(1, groups, {}))
    found = checkpoints.newest(folders[0]).groups["optimizer"]
    assert found.keys() == groups["optimizer"].keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in groups["optimizer"].items())


def test_only_safetensors_and_json_are_written(folders):
    checkpoints.save(*folders, make(5))
    names = {path.suffix for path in folders[0].rglob("*") if path.is_file()}
    assert names == {".safetensors", ".json"}


def test_older_ones_are_pruned_after_the_new_one_is_whole(folders):
    for step in (1, 2, 3, 12):
        checkpoints.save(*folders, make(step))
    assert sorted(path.name for path in folders[0].iterdir()) == ["step-000003", "step-000012"]
    assert not list(folders[1].iterdir())


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "state", "escape"])
def test_a_damaged_one_is_passed_over_for_the_one_before(folders, damage):
    for step in (1, 2):
        checkpoints.save(*folders, make(step))
    newest = folders[0] / "step-000002"
    weights = newest / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "cut":
        weights.write_bytes(data[:-4])
    elif damage == "remove":
        weights.unlink()
    elif damage == "state":
        (newest / "state.json").write_text("{")
    else:
        state = json.loads((newest / "state.json").read_text())
        # The hash is right: only the path is refused.
        other = folders[0] / "step-000001" / "weights.safetensors"
        state["sha256"] = {f"../step-000001/{other.name}": hashlib.sha256(other.read_bytes()).hexdigest()}
        (newest / "state.json").write_text(json.dumps(state))
    assert checkpoints.newest(folders[0]).step == 1


@pytest.mark.parametrize("listed", [False, True])
def test_a_pickle_in_a_checkpoint_is_never_opened(folders, tmp_path, listed):
    """A planted file that makes a marker when it is unpickled, also where the checkpoint lists it with its hash."""
    marker = tmp_path / "opened"
    planted = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    pickle.loads(planted)  # noqa: S301 - else a payload that does nothing would pass
    assert marker.exists()
    marker.unlink()
    for step in (1, 2):
        checkpoints.save(*folders, make(step))
    newest = folders[0] / "step-000002"
    (newest / "optimizer.pt").write_bytes(planted)
    if listed:
        state = json.loads((newest / "state.json").read_text())
        state["sha256"]["optimizer.pt"] = hashlib.sha256(planted).hexdigest()
        (newest / "state.json").write_text(json.dumps(state))
    assert checkpoints.newest(folders[0]).step == (1 if listed else 2)
    assert not marker.exists()


def test_a_write_that_fails_leaves_the_old_ones_and_nothing_else(folders, monkeypatch):
    checkpoints.save(*folders, make(1))
    monkeypatch.setattr(
        checkpoints, "save_file", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError):
        checkpoints.save(*folders, make(2))
    assert checkpoints.newest(folders[0]).step == 1 and not list(folders[1].iterdir())


def test_a_damaged_one_is_written_anew_when_its_step_comes_again(folders):
    for step in (5, 6):
        checkpoints.save(*folders, make(step))
    (folders[0] / "step-000006" / "weights.safetensors").write_bytes(b"damaged")
    assert checkpoints.newest(folders[0]).step == 5
    checkpoints.save(*folders, make(6))
    assert checkpoints.newest(folders[0]).step == 6


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.newest(tmp_path / "nothing") is None


def test_random_state_goes_on(folders):
    torch.manual_seed(3)
    checkpoints.save(*folders, Checkpoint(1, {"random": checkpoints.rng_state()}, {}))
    expected = torch.rand(4)
    torch.manual_seed(99)
    checkpoints.set_rng_state(checkpoints.newest(folders[0]).groups["random"])
    assert torch.equal(torch.rand(4), expected)
