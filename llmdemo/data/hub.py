"""Data sets from the Hugging Face hub by name, and presets. Knows no shapes: rows go the same way as a file's.

Rows are streamed by a process of its own (hub_child), which alone imports `datasets`: it can be stopped at once,
its memory is limited, and its 2 s of imports are not the app's. No code from the hub is ever run: `datasets` has
no scripts since 4.0.
"""

import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from llmdemo.core.bounded_child import BoundedChild
from llmdemo.core.errors import UserError
from llmdemo.core.secrets import HUB_TOKENS
from llmdemo.core.sentences import readable_size, say, unpack
from llmdemo.core.spaces import hub_endpoint
from llmdemo.core.store import Home
from llmdemo.data.ingest import add_rows
from llmdemo.data.library import DatasetInfo
from llmdemo.data.measure import DEFAULT_MAX_LENGTH, Stopped
from llmdemo.data.rows import MAX_RECORD, BadRow, Batch, Gather
from llmdemo.settings import Settings

DEFAULT_ROWS = 10_000
REACH_SECONDS = 0.9
"""How long to wait for a connection before the hub counts as not reachable."""
PATIENCE = 60.0
"""Seconds without a row after which the stream is given up."""

_ID = re.compile(r"[\w.\-]{1,96}(/[\w.\-]{1,96})?")


@dataclass(frozen=True)
class Preset:
    """A public data set that is offered by name."""

    key: str
    title: str
    hub_id: str
    split: str
    rows: int
    """Of the split that is taken."""
    megabytes: int
    """Size of the whole download, as the set's card tells it; 0: that could not be read."""
    licence: str
    citation: str
    note: str = ""
    config: str = ""
    """Which of several configurations; "": there is one."""

    def to_dict(self) -> dict:
        return asdict(self)


PRESETS = [
    Preset("alpaca", "Alpaca", "tatsu-lab/alpaca", "train", 52_002, 0, "CC BY-NC 4.0",
           "Taori et al. (2023), Stanford Alpaca: An Instruction-following LLaMA model",
           say("hub_note_alpaca")),
    Preset("alpaca-gpt4", "Alpaca-GPT4", "vicgalle/alpaca-gpt4", "train", 52_002, 0, "CC BY-NC 4.0",
           "Peng et al. (2023), Instruction Tuning with GPT-4, arXiv 2304.03277",
           say("hub_note_alpaca_gpt4")),
    Preset("lima", "LIMA", "GAIR/lima", "train", 1_030, 0, "CC BY-NC-SA (or stricter, by source)",
           "Zhou et al. (2023), LIMA: Less Is More for Alignment, arXiv 2305.11206",
           say("hub_note_lima")),
    Preset("ultrachat", "UltraChat 200k", "HuggingFaceH4/ultrachat_200k", "train_sft", 207_865, 1_624, "MIT",
           "Ding et al. (2023), Enhancing Chat Language Models by Scaling High-quality Instructional Conversations, "
           "arXiv 2305.14233", say("hub_note_ultrachat")),
    Preset("ultrachat-805k", "UltraChat 805k", "openchat/ultrachat-sharegpt", "train", 805_000, 9_650, "MIT",
           "Ding et al. (2023), Enhancing Chat Language Models by Scaling High-quality Instructional Conversations, "
           "arXiv 2305.14233", say("hub_note_ultrachat_805k")),
    Preset("capybara", "Capybara", "LDJnr/Capybara", "train", 16_000, 74, "Apache 2.0",
           "Daniele and Suphavadeeprasit (2023), Amplify-Instruct: Synthetically Generated Diverse Multi-turn Conversations "
           "for Efficient LLM Training", say("hub_note_capybara")),
    Preset("dolly", "Dolly 15k", "databricks/databricks-dolly-15k", "train", 15_011, 0, "CC BY-SA 3.0",
           "Conover et al. (2023), Free Dolly: Introducing the World's First Truly Open Instruction-Tuned LLM",
           say("hub_note_dolly")),
    Preset("magpie", "Magpie-Pro 300K", "Magpie-Align/Magpie-Pro-300K-Filtered", "train", 300_000, 0, "CC BY-NC 4.0",
           "Xu et al. (2024), Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing, "
           "arXiv 2406.08464", say("hub_note_magpie")),
    Preset("smoltalk", "SmolTalk", "HuggingFaceTB/smoltalk", "train", 1_043_917, 0, "Apache 2.0",
           "Allal et al. (2025), SmolLM2: When Smol Goes Big, arXiv 2502.02737", say("hub_note_smoltalk"), "all"),
    Preset("tulu3", "Tulu 3 SFT mixture", "allenai/tulu-3-sft-mixture", "train", 939_343, 1_413, "ODC-BY 1.0; parts by source",
           "Lambert et al. (2024), Tulu 3: Pushing Frontiers in Open Language Model Post-Training, arXiv 2411.15124",
           say("hub_note_tulu3")),
    Preset("openhermes", "OpenHermes 2.5", "teknium/OpenHermes-2.5", "train", 1_001_551, 0, "not stated; by source",
           "Teknium (2023), OpenHermes 2.5: An Open Dataset of Synthetic Data for Generalist LLM Assistants",
           say("hub_note_openhermes")),
    Preset("ultrafeedback", "UltraFeedback", "HuggingFaceH4/ultrafeedback_binarized", "train_prefs", 61_135, 650, "MIT",
           "Cui et al. (2023), UltraFeedback: Boosting Language Models with Scaled AI Feedback, arXiv 2310.01377",
           say("hub_note_ultrafeedback")),
]  # fmt: skip
"""Each licence, count and size was read on 29 November 2026: of UltraChat, Tulu 3 and UltraFeedback in copies of their cards;
of Alpaca the licence there, of Alpaca-GPT4 and Magpie in the repositories of their authors (github.com/Instruction-Tuning-
with-GPT-4/GPT-4-LLM, magpie-align/magpie), of LIMA in litgpt's documentation, of Dolly and SmolTalk in cards of sets that
were made of them. The rows of Alpaca, LIMA, Dolly, SmolTalk and OpenHermes are what people counted who had loaded them;
OpenHermes' card names no licence; licence, files and sizes of UltraChat 805k and Capybara were read in the lists of their
repositories' files, their rows, rounded, in texts about them. A size that no such text gave is 0."""


def add_from_hub(
    home: Home,
    settings: Settings,
    hub_id: str,
    name: str = "",
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    row_limit: int = DEFAULT_ROWS,
    tokenizer=None,
    columns: dict | None = None,
    task: str | None = None,
    max_length: int = DEFAULT_MAX_LENGTH,
    progress=None,
    should_stop=None,
) -> DatasetInfo:
    """Adds the first `row_limit` rows of a data set of the hub ("owner/name", a preset's key, or a local folder).

    split None takes "train", or the only one. Raises UserError: not reachable (within a second), unknown, gated,
    several configurations, nothing readable; otherwise as add_dataset.
    """
    preset = next((item for item in PRESETS if item.key == hub_id), None)
    if preset:
        hub_id, split, config = preset.hub_id, split or preset.split, config or preset.config or None
    if not isinstance(row_limit, int) or not 1 <= row_limit <= settings.max_rows:
        raise UserError("err_row_limit", row_limit=str(row_limit)[:20], max_rows=settings.max_rows)
    local = Path(hub_id).is_absolute()
    source = {"hub": hub_id, "config": config, "split": split, "row_limit": row_limit}
    if local:
        if not Path(hub_id).is_dir():
            raise UserError("err_no_folder", hub_id=hub_id[:200])
        source = {"folder": Path(hub_id).name, "split": split, "row_limit": row_limit}
    else:
        about = hub_info(hub_id, revision)
        source.update(about)
        revision = about["revision"]
    if preset:
        source.update(licence=preset.licence, citation=preset.citation)
    ask = {"id": hub_id, "config": config, "split": split, "revision": revision, "rows": row_limit, "local": local}
    return add_rows(
        home,
        settings,
        _stream(ask, settings.max_upload_bytes, should_stop),
        name or (preset.title if preset else hub_id.rstrip("/").split("/")[-1]),
        "local folder" if local else "hub",
        source,
        tokenizer=tokenizer,
        columns=columns,
        task=task,
        max_length=max_length,
        progress=progress,
        should_stop=should_stop,
        expected_rows=row_limit,
    )


def stream_rows(settings: Settings, hub_id: str, config: str | None, split: str | None, rows: int) -> Iterator[Batch]:
    """The first `rows` rows of a data set of the hub ("owner/name") or of a local folder, as they are. Raises UserError."""
    local = Path(hub_id).is_absolute()
    if local and not Path(hub_id).is_dir():
        raise UserError("err_no_folder", hub_id=hub_id[:200])
    revision = None if local else hub_info(hub_id)["revision"]
    ask = {"id": hub_id, "config": config, "split": split, "revision": revision, "rows": rows, "local": local}
    return _stream(ask, settings.max_upload_bytes, None)


def hub_info(hub_id: str, revision: str | None = None) -> dict:
    """{hub, revision (a commit), licence, bytes, gated, papers} of a data set of the hub. Raises UserError."""
    if not isinstance(hub_id, str) or not _ID.fullmatch(hub_id) or ".." in hub_id:
        raise UserError("err_hub_no_name", hub_id=repr(str(hub_id)[:100]))
    must_reach()
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi(endpoint=hub_endpoint()).dataset_info(hub_id, revision=revision, files_metadata=True, timeout=10)
    except GatedRepoError as error:
        raise _gated(hub_id) from error
    except RevisionNotFoundError as error:
        raise UserError("err_hub_no_revision", hub_id=hub_id, revision=repr(str(revision)[:60])) from error
    except RepositoryNotFoundError as error:
        raise UserError("err_hub_no_dataset", hub_id=hub_id) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise UserError("err_hub_no_answer", hub_id=hub_id, kind=type(error).__name__) from error
    card: Mapping = info.card_data or {}  # type: ignore[assignment]  # a CardData reads like one
    licence = card.get("license") or next(
        (tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")), None
    )
    return {
        "hub": hub_id,
        "revision": info.sha,
        "licence": ", ".join(licence) if isinstance(licence, list) else licence or "not stated",
        "bytes": sum(file.size or 0 for file in info.siblings or []),
        "gated": bool(info.gated),
        "papers": [tag.removeprefix("arxiv:") for tag in info.tags or [] if tag.startswith("arxiv:")],
    }


def must_reach() -> None:
    """Raises UserError within a second if no connection to the hub (or to the proxy before it) can be made."""
    url = urlsplit(hub_endpoint())
    proxy = getproxies().get(url.scheme)
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    done: dict[str, object] = {}

    def connect():
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
            socket.create_connection((url.hostname or "", port), timeout=REACH_SECONDS).close()
            done["connected"] = True
        except (OSError, ValueError) as error:
            done["error"] = error

    thread = threading.Thread(target=connect, daemon=True)  # a name look-up alone cannot be given a time limit
    thread.start()
    thread.join(REACH_SECONDS)
    if "connected" not in done or os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True", "ON"):
        raise UserError("err_hub_unreachable", host=urlsplit(hub_endpoint()).hostname)


def _gated(hub_id: str) -> UserError:
    return UserError("err_hub_terms", hub_id=hub_id)


def _stream(ask: dict, max_bytes: int, should_stop) -> Iterator[Batch]:
    """Batches of rows from the child, each line of its output one row as JSON."""
    child = BoundedChild(
        [str(Path(__file__).with_name("hub_child.py")), orjson.dumps(ask).decode()],
        PATIENCE,
        env={"HF_HUB_DISABLE_TELEMETRY": "1", "USE_TORCH": "0"},  # `datasets` imports torch, a second, to do without it
        keep=HUB_TOKENS,
        should_stop=should_stop,
    )
    gather, size = Gather(), 0
    try:
        while line := child.out.readline(4 * MAX_RECORD):
            child.seen()
            size += len(line)
            if not line.endswith(b"\n"):
                break  # the child was ended in the middle of a row
            value = orjson.loads(line)
            if "error" in value:
                said = unpack(value)
                raise UserError(said["error"], said.get("hint", ""))
            if size > max_bytes:
                raise UserError("err_hub_rows_too_large", row=gather.row, most=readable_size(max_bytes))
            row = value["row"]
            batch = gather.add(BadRow(say(row)) if isinstance(row, str) else row, 0, len(line), gather.row)
            if batch:
                batch.lines = None
                yield batch
                child.seen()  # what the reader of the batch took is not the hub's silence
        if should_stop and should_stop():
            raise Stopped()
        if child.wait(10) != 0:
            why = say("hint_hub_silent") if child.was_silent else say("hint_fewer_rows")
            raise UserError("err_hub_broke_off", why)
        for batch in gather.rest():
            batch.lines = None
            yield batch
    finally:
        child.end()
