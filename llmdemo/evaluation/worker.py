"""One evaluation in a process of its own: `python -m llmdemo.evaluation.worker <folder>`.

The process outlives the page and the app; its memory is given back when it ends, and when it is killed nothing is lost
but the batch on its way. A judge's key comes as one line of JSON on standard input, and goes nowhere else.
"""

import json
import os
import sys
import traceback
from pathlib import Path

from llmdemo.errors import UserError
from llmdemo.evaluation.folder import COMPLETED, FAILED, STOPPED, JobFolder
from llmdemo.evaluation.job import Job, Stopped
from llmdemo.settings.evaluation import Spec
from llmdemo.store import Home


def main(argv: list[str], stdin=None) -> int:
    folder, home = JobFolder(Path(argv[0])), Home(Path(os.environ["LLMDEMO_HOME"]))
    return work(folder, home, _key(stdin or sys.stdin))


def work(folder: JobFolder, home: Home, key: str = "") -> int:
    """Does what the folder asks and writes the end into its state; 0 unless a mistake of ours ended it."""
    try:
        job = Job(folder)
        folder.write("result", _run(job, home, Spec.from_dict(folder.read("spec")["spec"]), key))
        folder.set_state(COMPLETED)
    except Stopped:
        folder.set_state(STOPPED, "Stopped.", "Resume goes on from here; what was done is kept.")
    except UserError as error:
        folder.set_state(FAILED, error.message, error.hint)
    except MemoryError:
        folder.set_state(FAILED, "The memory of this machine is full.", "Choose a smaller model or fewer new tokens.")
    except OSError as error:
        folder.set_state(FAILED, f"A file could not be written ({error.strerror or error}).", "Is the disk full?")
    except Exception as error:  # the process's last word: the page must learn that, and of what, it ended
        traceback.print_exc()
        said = f"The evaluation made a mistake ({type(error).__name__})."
        folder.set_state(FAILED, said, "The log in its folder says more. Resume tries again.")
        return 1
    return 0


def _run(job: Job, home: Home, spec: Spec, key: str) -> dict:
    # Imported here, since they bring torch: a wrong spec is told before that takes its seconds.
    if spec.kind == "kfold":
        from llmdemo.evaluation.run_classifiers import run_folds

        return run_folds(job, home, spec)
    if spec.kind == "classify":
        from llmdemo.evaluation.run_classifiers import run_classifiers

        return run_classifiers(job, home, spec)
    from llmdemo.evaluation.run_models import run_models

    return run_models(job, home, spec, key)


def _key(stream) -> str:
    try:
        value = json.loads(stream.readline() or "{}")
    except ValueError:
        return ""
    return str(value.get("key") or "") if isinstance(value, dict) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
