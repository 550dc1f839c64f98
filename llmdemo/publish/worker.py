"""One push in a process of its own: `python -m llmdemo.publish.worker <folder>`. The token comes on standard input.

A push that broke off goes on where it was, with a token: what the hub already has is not sent again.
"""

from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.store import Home, child, write_json
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Stopped, Worker, perform, run_process
from llmdemo.publish.push import SPACE, push
from llmdemo.publish.service import CARD, RESUME
from llmdemo.publish.space import model_files


def work(folder: JobFolder, home: Home, token: str) -> int:
    """Sends what the folder asks for, and writes result.json {repo, url, revision} into it; 0 unless our mistake ended it."""

    def send(worker: Worker) -> None:
        try:
            write_json(folder.path / "result.json", _send(worker, folder, home, token))
        except (UserError, Stopped):
            raise
        except Exception as error:  # said without its text, which may hold the token; so is the log
            raise UserError("err_push_failed", kind=type(error).__name__) from None

    return perform(Worker(folder), send, RESUME)


def _send(worker: Worker, folder: JobFolder, home: Home, token: str) -> dict:
    config = folder.config()
    if not token:
        raise UserError("err_push_token_gone", RESUME)
    card: dict[str, Path | bytes] = {path.name: path for path in sorted((folder.path / CARD).iterdir())}
    space = config.get("space") is True
    model = model_files(child(home.runs, str(config.get("run_id"))) / "model", "model/" if space else "")

    def progress(sent: int, total: int, name: str) -> None:
        worker.progress(sent=sent, total=total, file=name)

    return push(
        {**model, **card},
        str(config.get("repo")),
        token,
        private=config.get("private") is not False,
        kind=SPACE if space else "model",
        message="Chat page made with llmdemo" if space else "Model trained with llmdemo",
        progress=progress,
        should_stop=worker.should_stop,
    )


if __name__ == "__main__":
    run_process(work, has_secret=True)
