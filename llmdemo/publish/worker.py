"""One push in a process of its own: `python -m llmdemo.publish.worker <folder>`. The token comes on standard input.

A push that broke off goes on where it was, with a token: what the hub already has is not sent again.
"""

import os
import sys
from pathlib import Path

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.core.store import Home, child, write_json
from llmdemo.jobs import JobFolder
from llmdemo.jobs.worker import Stopped, Worker, perform, read_secret
from llmdemo.publish.push import push

CARD = "card"
"""The folder, inside the job's, with what goes beside the model's files."""
RESUME = say("resume_push")
_NOT_SENT = ("origin.json",)
"""It tells where the model lies on this computer."""


def main(argv: list[str]) -> int:
    return work(JobFolder(Path(argv[0])), Home(Path(os.environ["LLMDEMO_HOME"])), read_secret(sys.stdin))


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
    card = {path.name: path for path in sorted((folder.path / CARD).iterdir())}
    model = sorted((child(home.runs, str(config.get("run_id"))) / "model").iterdir())
    files = {path.name: path for path in model if path.is_file() and path.name not in (*card, *_NOT_SENT)}

    def progress(sent: int, total: int, name: str) -> None:
        worker.progress(sent=sent, total=total, file=name)

    return push(
        {**files, **card},
        str(config.get("repo")),
        token,
        private=config.get("private") is not False,
        progress=progress,
        should_stop=worker.should_stop,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
