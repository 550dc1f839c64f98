"""Files that a panel's script asks for: made where Gradio serves files from, then downloaded by the browser. Knows no panel.

Gradio copies a file from elsewhere into its cache and empties only that: what a handler made in /tmp would stay for good.
A file that is made inside the cache is served as it is, and deleted on the page's schedule (`delete_cache`).
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from llmdemo.ui import bridge
from llmdemo.ui.rights import for_owners

_PREFIX = "download-"
_OLD_SECONDS = 24 * 3600.0


def on_request(
    listen: Callable, make: Callable[[dict, Path], Path | tuple[Path, str]], note: gr.HTML, elem_id: str
) -> None:
    """When the event of `listen` (an island's `submit`) comes, `make(its data, an empty folder)` gives the file.

    Errors show in `note`; so does a sentence about the file, where `make` gives (file, sentence).
    """
    button = gr.DownloadButton(visible="hidden", elem_id=elem_id)

    def told(notice: dict) -> dict:
        """Another value each time: a page that has put the same notice away shows it again."""
        return {**notice, "at": time.time_ns()} if notice else notice

    @for_owners
    def deliver(event: gr.EventData):
        try:
            data = event._data if isinstance(event._data, dict) else {}
            with new_folder() as folder:
                made = make(data, folder)
                file, about = made if isinstance(made, tuple) else (made, "")
                return told(bridge.notice(message=about, kind="info")), str(file)
        except Exception as error:  # the boundary to the page
            return told(bridge.notice(error)), None

    listen(deliver, None, [note, button], **bridge.QUIET).success(None, None, None, js=click(elem_id))


@contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder for one file, inside Gradio's cache; removed again when the file cannot be made.

    Its name cannot be guessed: who knows a path in the cache may download it.
    """
    cache = Path(get_upload_folder()).absolute()
    _sweep(cache)
    folder = cache / f"{_PREFIX}{secrets.token_hex(20)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _sweep(cache: Path) -> None:
    """Removes the folders of a day ago: Gradio has deleted their files, unless the app was killed before it could."""
    for folder in cache.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another app's, or gone meanwhile


def click(elem_id: str) -> str:
    """The js of an event that presses the download button `elem_id`, a moment later, when the browser has the file's address;
    assets/lib/no-eval.js knows it and does the same."""
    return f'() => setTimeout(() => document.getElementById("{elem_id}")?.click(), 300)'
