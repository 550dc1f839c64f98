"""Hugging Face Jobs: what there is to rent, begin, look, log, cancel. The only module that calls the hub's Jobs.

Answers of the hub are checked for being what they should be; its errors become sentences without the token. Knows no run.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmdemo.core.errors import UserError
from llmdemo.core.spaces import hub_endpoint
from llmdemo.jobs.digest import number, text
from llmdemo.models.hub import transport_errors
from llmdemo.publish.push import causes_of, hub_api

IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""huggingface_hub's own default for jobs of uv; it holds Python 3.12 and uv."""
LABEL = "llmdemo"
"""The label of our jobs; its value is the id that the job has here, and a tail of its own."""
WAITING, RUNNING, COMPLETED, CANCELED = "SCHEDULING", "RUNNING", "COMPLETED", "CANCELED"
OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
"""Stages after which nothing changes (huggingface_hub.JobStage)."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GIGABYTES = re.compile(r"(\d+(?:\.\d+)?) ?GB")
_HOURS = {"minute": 60, "hour": 1, "second": 3600}
_MOST_LINE = 2000
T = TypeVar("T")


class NotReached(UserError):
    """No answer came: what was asked may be asked again later."""


@dataclass(frozen=True)
class Hardware:
    """A machine that can be rented."""

    name: str
    title: str
    cpu: str
    memory: str
    gpu: str
    """For example "1 × T4, 16 GB"; "" without one."""
    gpus: int
    gpu_bytes: int
    """Of all its GPUs; 0 where that is not known."""
    dollars_per_hour: float

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """How a job is."""

    stage: str
    message: str
    seconds: float
    """That it has run, as the hub counts them."""


class HubJobs:
    """The jobs of a token's owner. Methods raise UserError; NotReached where a later try may succeed."""

    def __init__(self, token: str):
        self._api = hub_api(token)
        self._token = token.strip()

    def owner(self) -> str:
        """The name that the token stands for."""
        return _ask(lambda: str(self._api.whoami()["name"]))

    def hardware(self) -> list[Hardware]:
        """What can be rented, as the hub offers it now: the cheapest first."""
        offers = _ask(lambda: [_hardware(each) for each in self._api.list_jobs_hardware()])
        return sorted(offers, key=lambda each: each.dollars_per_hour)

    def require_access(self, repo: str) -> None:
        """Raises UserError where the hub would not give this model to the token's owner: its licence is not accepted."""
        from huggingface_hub.errors import HfHubHTTPError

        def ask() -> None:
            try:
                self._api.auth_check(repo)
            except HfHubHTTPError as error:
                if error.response is None or error.response.status_code not in (401, 403, 404):
                    raise
                raise UserError("err_elsewhere_gated", repo=repo, address=f"{hub_endpoint()}/{repo}") from None

        _ask(ask)

    def begin(self, tag: str, owner: str, flavor: str, command: list[str], env: dict, seconds: int) -> str:
        """Starts a job with the token as its secret HF_TOKEN; returns the id that the hub gives it."""
        made = _ask(
            lambda: self._api.run_job(
                image=IMAGE,
                command=command,
                env=env,
                secrets={"HF_TOKEN": self._token},
                flavor=flavor,
                timeout=seconds,
                labels={LABEL: tag, "name": tag},
                namespace=owner,
            )
        )
        return _checked_id(made.id)

    def find(self, tag: str, owner: str) -> str:
        """The hub's id of the job with this label; "" where there is none."""
        found = _ask(lambda: list(self._api.list_jobs(labels={LABEL: tag}, namespace=owner)))
        return next((_checked_id(job.id) for job in found if (job.labels or {}).get(LABEL) == tag), "")

    def look(self, hub_id: str, owner: str) -> Seen:
        """How the job is now."""
        info = _ask(lambda: self._api.inspect_job(job_id=hub_id, namespace=owner))
        seconds = number(info.durations.running_secs) if info.durations else None
        return Seen(
            text(str(getattr(info.status.stage, "value", info.status.stage)), 40),
            text(info.status.message, 300),
            seconds or 0.0,
        )

    def lines(self, hub_id: str, owner: str) -> Iterator[str]:
        """The job's output, line by line, until it ends or the connection breaks; raises as the client does."""
        for line in self._api.fetch_job_logs(job_id=hub_id, namespace=owner, follow=True):
            yield text(line, _MOST_LINE)

    def cancel(self, hub_id: str, owner: str) -> None:
        """Ends the job; harmless for one that has ended."""
        _ask(lambda: self._api.cancel_job(job_id=hub_id, namespace=owner))

    def size(self, repo: str, name: str) -> int | None:
        """Bytes of a file of the repository; None where there is no such file."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        def ask() -> int | None:
            url = hf_hub_url(repo, name, endpoint=hub_endpoint())
            try:
                return get_hf_file_metadata(url, token=self._token).size or 0
            except EntryNotFoundError:
                return None

        return _ask(ask)

    def fetch(self, repo: str, name: str, folder: Path) -> Path:
        """The file of the repository, below `folder`."""
        return Path(_ask(lambda: self._api.hf_hub_download(repo, name, local_dir=folder)))


def address(owner: str, hub_id: str) -> str:
    """Where the hub shows the job."""
    return f"{hub_endpoint()}/jobs/{owner}/{hub_id}"


def _checked_id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise UserError("err_elsewhere_odd_answer")
    return value


def _hardware(each: Any) -> Hardware:
    """An offer of the hub, as far as it can be believed. Raises ValueError."""
    price, hours = number(each.unit_cost_usd), _HOURS.get(str(each.unit_label))
    if price is None or price < 0 or hours is None or not _ID.fullmatch(str(each.name)):
        raise ValueError("an offer without a price")
    gpu = each.accelerator
    memory = _GIGABYTES.search(str(gpu.vram)) if gpu else None
    count = int(str(gpu.quantity)) if gpu and str(gpu.quantity).isdecimal() else 0
    return Hardware(
        name=str(each.name),
        title=text(each.pretty_name, 60),
        cpu=text(each.cpu, 40),
        memory=text(each.ram, 40),
        gpu=text(f"{gpu.quantity} × {gpu.model}, {gpu.vram}", 60) if gpu else "",
        gpus=count,
        gpu_bytes=int(float(memory[1]) * 10**9) if memory else 0,
        dollars_per_hour=round(price * hours, 4),
    )


def _ask(question: Callable[[], T]) -> T:
    """The hub's answer; errors become sentences without the token."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return question()
    except UserError:
        raise
    except Exception as error:  # sorted out below; what is none of the hub's or the network's goes on
        causes = causes_of(error)
        for cause in causes:
            if isinstance(cause, HfHubHTTPError) and cause.response is not None:
                raise _refusal(cause.response) from None
        if any(isinstance(cause, (*transport_errors(), OSError)) for cause in causes):
            raise NotReached("err_elsewhere_not_reached", host=hub_endpoint()) from None
        if isinstance(error, ValueError | KeyError | TypeError | AttributeError):
            raise UserError("err_elsewhere_odd_answer") from None
        raise


def _refusal(response: Any) -> UserError:
    code = response.status_code
    if code == 402 or (code == 403 and re.search(r"credit|billing|payment", response.text[:2000], re.IGNORECASE)):
        return UserError("err_elsewhere_credits")
    if code == 401:
        return UserError("err_push_unknown_token")
    if code == 403:
        return UserError("err_elsewhere_may_not")
    if code == 404:
        return UserError("err_elsewhere_gone")
    if code in (408, 429) or code >= 500:
        return NotReached("err_elsewhere_http", code=code)
    return UserError("err_elsewhere_http", code=code)
