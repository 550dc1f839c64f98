"""A tiny model and a tiny data set for runs_faults.py --real: what a run needs, in seconds and without a network."""

import importlib.util
import json
from pathlib import Path

from llmdemo.core.store import Home
from llmdemo.data import add_dataset
from llmdemo.settings import Settings
from llmdemo.settings.training import TrainConfig

_SHARED = Path(__file__).resolve().parents[1] / "conftest.py"


def tiny_config(root: Path, **changes) -> dict:
    """Makes both inside the home folder `root`; returns the settings of a run of 50 steps on them."""
    spec = importlib.util.spec_from_file_location("shared", _SHARED)
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    home = Home(root).prepare()
    folder, tokenizer = home.models / "tiny", shared.make_tokenizer()
    shared.make_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    upload = root / "sums.json"
    records = [{"instruction": f"Add {n} and {n + 1}.", "input": "", "output": str(2 * n + 1)} for n in range(80)]
    upload.write_text(json.dumps(records))
    info = add_dataset(home, Settings(home=root), upload, "sums", tokenizer=tokenizer)
    values = {"dataset_id": info.dataset_id, "model_id": str(folder), "max_steps": 50, "batch_size": 4, "rank": 8}
    values |= {"max_length": 64, "eval_steps": 20, "checkpoint_seconds": 1, "precision": "fp32", "update_proj_gap": 7}
    return TrainConfig.from_dict(values | changes).to_dict()
