"""One evaluation in a process of its own: `python -m llmdemo.evaluation.worker <folder>`.

The process outlives the page and the app; its memory is given back when it ends, and when it is killed nothing is lost
but the batch on its way. A judge's key comes on standard input, and goes nowhere else.
"""

from llmdemo.core.store import Home
from llmdemo.evaluation.folder import EvaluationFolder
from llmdemo.evaluation.job import Job
from llmdemo.evaluation.service import RESUME
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import perform, run_process
from llmdemo.settings.evaluation import Spec


def work(job_folder: JobFolder, home: Home, key: str = "") -> int:
    """Does what the folder asks, and writes what came out into it; 0 unless a mistake of ours ended it."""
    folder = EvaluationFolder(job_folder.path)

    def evaluate(job: Job) -> None:
        folder.write("result", _run(job, home, Spec.from_dict(folder.config()["spec"]), key))

    return perform(Job(folder), evaluate, RESUME)


def _run(job: Job, home: Home, spec: Spec, key: str) -> dict:
    # Imported here, since they bring torch: a wrong spec is told before that takes its seconds.
    if spec.kind == "kfold":
        from llmdemo.evaluation.run_classifiers import run_folds

        return run_folds(job, home, spec)
    if spec.kind == "classify":
        from llmdemo.evaluation.run_classifiers import run_classifiers

        return run_classifiers(job, home, spec)
    if spec.kind == "benchmark":
        from llmdemo.evaluation.run_benchmark import run_benchmark

        return run_benchmark(job, home, spec)
    if spec.kind == "decoding":
        from llmdemo.evaluation.run_decoding import run_decoding

        return run_decoding(job, home, spec, key)
    if spec.kind == "votes":
        from llmdemo.evaluation.run_votes import run_votes

        return run_votes(job, home, spec, key)
    if spec.kind == "reward":
        from llmdemo.evaluation.run_rewards import run_rewards

        return run_rewards(job, home, spec)
    from llmdemo.evaluation.run_models import run_models

    return run_models(job, home, spec, key)


if __name__ == "__main__":
    run_process(work, has_secret=True)
