"""Gradio imported in half the time: without the stubs that it writes for code editors. Knows no panel."""

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

MODULE, FUNCTION = "gradio.component_meta", "create_or_modify_pyi"


def no_stub(component_class: type, class_name: str, events: list) -> None:
    """Stands for the function that writes a component's .pyi file."""


class WithoutStubs(importlib.abc.MetaPathFinder):
    """Finds gradio.component_meta as ever, and takes from it, once it is there, what writes the stubs.

    For every component class Gradio (seen in 6.31) parses that class's source, renders a template and compares the
    result with a .pyi file beside it, each time it is imported: half of the import's time. Programs have no use for
    the stubs; the files that Gradio's wheel brings stay as they are. Should a later Gradio have no such function, it
    is imported as it is.
    """

    def find_spec(self, fullname, path=None, target=None):
        if fullname != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                if hasattr(module, FUNCTION):
                    setattr(module, FUNCTION, no_stub)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one loader, on purpose
        return spec


def install() -> None:
    """Makes the next import of gradio quick; where it is imported already, or this was called before, does nothing."""
    if MODULE not in sys.modules and not any(isinstance(finder, WithoutStubs) for finder in sys.meta_path):
        sys.meta_path.insert(0, WithoutStubs())
