"""What a run imports on its way, imported at once: by a worker that waits for its run (jobs/spare.py).

Nothing here may start a GPU: which one it is to be, the worker learns with the run.
"""

import importlib
import importlib.util

import accelerate
import accelerate.state  # noqa: F401
import safetensors.numpy  # noqa: F401
import torch.optim  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401
from transformers.models.llama import modeling_llama  # noqa: F401

from llmdemo.training import captured, session  # noqa: F401

if importlib.util.find_spec("pandas"):
    importlib.import_module("pandas")  # pyarrow does, with the first column that a run reads as numbers
