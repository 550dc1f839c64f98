"""Under torch's launcher, `-m tests.training.in_turn RUN_DIR …`: the worker's work on each run, one after another."""

import sys
from pathlib import Path

from llmdemo.training import worker

if __name__ == "__main__":
    sys.exit(max(worker.main(Path(run_dir)) for run_dir in sys.argv[1:]))
