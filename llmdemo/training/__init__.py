"""GaLore, the loop, and the worker that accelerate launches. Knows no gradio and no SQLite.

`TrainConfig` is free of torch; `build_optimizer` is loaded when it is asked for, so that the app's page
can check a config without loading torch.
"""

from llmdemo.settings.training import TrainConfig

__all__ = ["GaLoreAdamW", "TrainConfig", "build_optimizer"]


def __getattr__(name: str):
    if name == "build_optimizer":
        from llmdemo.training.build import build_optimizer

        return build_optimizer
    if name == "GaLoreAdamW":
        from llmdemo.training.drop_in import GaLoreAdamW

        return GaLoreAdamW
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
