"""Fine-tune a language model with GaLore in the browser, then see how it decodes."""

import os

__version__ = "0.1.0"

# Before torch is imported: GNU OpenMP's threads wait for one another in a busy loop, by default for so long that two
# programs on the same cores (a run that trains and an arena that decodes, two runs) stand still: more than ten times the
# time of a step. With shorter loops each takes some twice its time, as it should, and alone little more than before
# (tests/benchmarks/train_beside.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
