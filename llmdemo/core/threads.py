"""How many threads torch computes with on an idle machine, asked for once, before any thread takes a number of its own.

torch.set_num_threads is for the thread that calls it, but for threads that are new meanwhile too: one that asked for the
number then could be told another's, and would keep it.
"""

import torch

FULL = torch.get_num_threads()


def use_all() -> None:
    """Gives this thread all of them, whatever it began with."""
    if torch.get_num_threads() != FULL:
        torch.set_num_threads(FULL)
