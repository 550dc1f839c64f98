"""From moving the slider to the next step's first token on the page, in a real Chromium, for a run of the starter.

    python tests/benchmarks/slider_speed.py --home FOLDER [--run run-…] [--moves 8] [--method galore]

FOLDER is a home that holds the starter; without --run, a short run on the sample that keeps every step is trained there
first (not measured). The slider is moved to its neighbour by the arrow key once the page is idle and the neighbours are
there, as the page has them loaded ahead; then to a step far off, which nothing was loaded for. Beside the whole it tells
what the engine's prefill took of it, the load of the machine and the CPU's seconds.
"""

import argparse
import os
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from arena_first_token import start

LIMIT = 240_000
WATCH = """(value) => {
  const slider = document.querySelector("#arena-step");
  const app = document.querySelector(".arena").app;
  const before = app.trace.meta;
  window.shown = 0;
  const look = () => {
    if (app.trace.meta !== before && document.querySelector(".lane .token")) window.shown = performance.now();
    else setTimeout(look, 2);
  };
  document.querySelector(".lanes").replaceChildren();
  slider.value = value;
  window.pressed = performance.now();
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  slider.dispatchEvent(new Event("change", { bubbles: true }));
  look();
}"""
TOLD = """() => {
  const { trace } = document.querySelector(".arena").app;
  return { shown: window.shown - window.pressed, engine: 1000 * trace.times[0].t, id: trace.meta.models[0].id };
}"""
STOPPED = "!document.querySelector('.arena .run').classList.contains('stop')"
QUIET = "document.querySelector('.arena').app.ahead.done"


def main() -> None:
    flags = arguments()
    run_id = flags.run or trained(Path(flags.home), flags.method)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the app ends too
    url, app = start(flags.home)
    try:
        near, far = measure(url, run_id, flags.moves)
    finally:
        app.terminate()
        app.wait(30)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name, found in (("to a neighbour, loaded ahead", near), ("to a step that nothing was loaded for", far)):
        shown = [each["shown"] for each in found]
        engine = statistics.median(each["engine"] for each in found)
        print(f"{name}: median {statistics.median(shown):.0f} ms ({min(shown):.0f} to {max(shown):.0f}), "
              f"of which the engine's prefill {engine:.0f}")  # fmt: skip


def trained(home: Path, method: str) -> str:
    """A run of 10 steps on the sample that keeps each of them."""
    from pretrain import run

    from llmdemo.core import store
    from llmdemo.data.ingest import add_dataset
    from llmdemo.settings import Settings

    root = store.Home(home).prepare()
    sample = ROOT / "assets" / "sample-messages.json"
    dataset_id = add_dataset(root, Settings(home=home, min_free_bytes=0), sample, sample.name).dataset_id
    config = {"dataset_id": dataset_id, "method": method, "max_steps": 10, "keep_steps": 1, "keep_steps_gb": 20.0,
              "eval_steps": 0, "eval_records": 1, "best_by": "last", "max_length": 64, "batch_size": 1}  # fmt: skip
    run(root, config)
    return max(path.name for path in root.runs.glob("run-*"))


def measure(url: str, run_id: str, moves: int) -> tuple[list[dict], list[dict]]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(locale="en-US", viewport={"width": 1440, "height": 900}, bypass_csp=True)
        page.goto(url)
        page.get_by_role("tab", name="Arena").click()
        page.wait_for_function(f"document.querySelector('#arena-model option[value=\"{run_id}\"]')", timeout=LIMIT)
        page.select_option("#arena-model", run_id)
        page.fill("#arena-max_new_tokens", "8")
        page.fill("#arena-prompt", "Write a haiku about the sea.")
        page.get_by_role("button", name="Compare", exact=True).click()
        settle(page)
        last = int(page.get_attribute("#arena-step", "max"))
        near = [moved(page, place) for place in range(last - 1, max(-1, last - 2 - moves), -1)][1:]
        far = [moved(page, place) for place in (0, last - 1, 3, last - 3)][1:]
        browser.close()
    return near, far


def moved(page, place: int) -> dict:
    page.evaluate(WATCH, str(place))
    page.wait_for_function("window.shown > 0", timeout=LIMIT)
    found = page.evaluate(TOLD)
    print(f"{found['id']}: {found['shown']:.0f} ms, the engine's prefill {found['engine']:.0f}", flush=True)
    settle(page)
    return found


def settle(page) -> None:
    """Waits until nothing is computed and the neighbours are loaded."""
    page.wait_for_function(STOPPED, timeout=LIMIT)
    time.sleep(0.2)
    page.wait_for_function(QUIET, timeout=LIMIT)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", required=True, help="home folder that holds the starter")
    parser.add_argument("--run", help="a finished run there that kept steps")
    parser.add_argument("--method", default="galore")
    parser.add_argument("--moves", type=int, default=6)
    return parser.parse_args()


if __name__ == "__main__":
    main()
