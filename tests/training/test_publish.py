"""A disk that is full when the run is over: the run fails with the reason, keeps its last step, and goes on from it."""

import pytest
from safetensors import SafetensorError

from llmdemo.core.events import read_events
from llmdemo.training import checkpoint, worker


@pytest.mark.parametrize("where", ["the last checkpoint", "the model's weights", "the tokenizer"])
@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_loses_no_step_that_was_kept(make_run, home, monkeypatch, where):
    run_dir = make_run(max_steps=3, checkpoint_seconds=1e9)

    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        if where == "the last checkpoint":
            patch.setattr(checkpoint, "save_file", full)
        elif where == "the model's weights":
            patch.setattr("transformers.PreTrainedModel.save_pretrained", full)
        else:
            patch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)
        assert worker.main(run_dir) == 1
    end = read_events(run_dir / "events.jsonl")[0][-1]
    assert end["type"] == "end" and end["reason"] == "disk_full" and "Free some space" in end["hint"]
    assert not (run_dir / "model").exists() and not list(home.tmp.iterdir())
    kept = checkpoint.newest(run_dir / "checkpoints") if (run_dir / "checkpoints").exists() else None
    assert (kept and kept.step) == (None if where == "the last checkpoint" else 3)
    assert worker.main(run_dir) == 0 and (run_dir / "model" / "model.safetensors").is_file()
