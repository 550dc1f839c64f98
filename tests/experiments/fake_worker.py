"""A worker without a model: its held-out loss is a known function of the settings, so that the best ones are known.

Run as `python fake_worker.py RUN_DIR`. A learning rate of 0.001 is best, more steps are better; above 0.5 it fails.
"""

import json
import math
import sys
import time
from pathlib import Path


def main(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text())
    start = time.time()

    def say(kind, after=0.0, **fields):
        with open(folder / "events.jsonl", "a") as file:
            file.write(json.dumps({"type": kind, "t": round(start + after, 3), **fields}) + "\n")

    rate, steps = config["learning_rate"], config["max_steps"]
    say("start", step=0, total_steps=steps, method=config["method"])
    if rate > 0.5:
        say("end", state="failed", reason="non_finite", message="The loss became infinite.", hint="Lower the rate.")
        return 1
    say("phase", phase="evaluating")
    say("eval", step=0, loss=9.0)
    say("phase", phase="training")
    for step in range(1, steps + 1):
        while (folder / "hold").exists() or config["seed"] == 99:
            if (folder / "stop").exists():
                say("end", state="stopped", reason="", message="Stopped as asked.", hint="")
                return 0
            time.sleep(0.02)
        fields = {"memory_bytes": 10**8, "peak_memory_bytes": 2 * 10**8, "tokens_per_second": 50.0, "eta_seconds": 0.0}
        say("step", after=2.0 * step, step=step, loss=8.0 / step, tokens=100 * step, **fields)
    say("phase", after=2.0 * steps, phase="evaluating")
    loss = abs(math.log10(rate) + 3) + 1 / steps
    say("eval", after=2.0 * steps + 50, step=steps, loss=loss, accuracy=0.5)
    say("ledger", after=2.0 * steps + 50, predicted={"total": 1}, measured={"total": 3 * 10**8, "optimizer": 12345})
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "checkpoints" / "step-1").mkdir(parents=True)
    say("end", after=2.0 * steps + 50, state="completed", reason="", message="", hint="", model_id=folder.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
