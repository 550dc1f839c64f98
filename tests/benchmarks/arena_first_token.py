"""Time from the press of Compare to the first token on the page, in a real Chromium, model warm.

Starts the app on a home folder that holds the model, opens the arena, and presses Compare `--rounds` times with a prompt
of `--prompt-tokens` tokens; a MutationObserver in the page notes when the first token stands there. Beside the whole it
tells what the engine alone needs for its prefill, as the page was told.

    python tests/benchmarks/arena_first_token.py --home FOLDER [--rounds 9] [--prompt-tokens 50] [--out FILE]

Needs Playwright and a Chromium (tests/run.py sets both up) and a machine that does nothing else.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.waiting import free_port, page_of

LIMIT = 120_000
WATCH = """() => {
  window.pressed = performance.now(); window.shown = 0;
  const watch = new MutationObserver(() => {
    if (!window.shown && document.querySelector(".lane .token")) { window.shown = performance.now(); watch.disconnect(); }
  });
  document.querySelector(".lanes").replaceChildren();
  watch.observe(document.querySelector(".lanes"), { subtree: true, childList: true });
  document.querySelector(".arena .run").click();
}"""


def main() -> None:
    flags = arguments()
    url, app = start(flags.home)
    try:
        found = measure(url, flags)
    finally:
        app.terminate()
        app.wait(30)
    middle = statistics.median(row["shown_ms"] for row in found)
    engine = statistics.median(row["engine_ms"] for row in found)
    print(f"prompt of {found[0]['prompt_tokens']} tokens, {len(found)} rounds, {os.cpu_count()} cores")
    print(f"first token on the page  {middle:.0f} ms (from {min(row['shown_ms'] for row in found):.0f})")
    print(f"the engine's share       {engine:.0f} ms")
    if flags.out:
        Path(flags.out).write_text(json.dumps({"median_ms": middle, "engine_ms": engine, "rounds": found}, indent=1))


def measure(url: str, flags: argparse.Namespace) -> list[dict]:
    from playwright.sync_api import sync_playwright

    path = next(
        filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))),
        None,
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(locale="en-US", viewport={"width": 1440, "height": 900}, bypass_csp=True)
        page.goto(url)
        page.get_by_role("tab", name="Arena").click()
        page.wait_for_function(f"document.querySelector('#arena-model')?.value === '{flags.model}'", timeout=LIMIT)
        page.fill("#arena-max_new_tokens", "8")
        page.check(".arena .fresh input")  # a seed of its own each time: what is asked again is not computed again
        fit_prompt(page, flags.prompt_tokens)
        rows = [one(page) for _ in range(flags.rounds + 1)]
        browser.close()
    return rows[1:]  # the first may have waited for the model


def fit_prompt(page, tokens: int) -> None:
    """Writes as many words as make `tokens` tokens with the chat template around them."""
    words = max(1, tokens - 30)
    for _ in range(8):
        page.fill("#arena-prompt", " ".join(["blue"] * words))
        have = one(page)["prompt_tokens"]
        if have == tokens:
            return
        words = max(1, words + tokens - have)


def one(page) -> dict:
    page.evaluate(WATCH)
    page.wait_for_function("window.shown > 0", timeout=LIMIT)
    page.wait_for_function("!document.querySelector('.arena .run').classList.contains('stop')", timeout=LIMIT)
    return page.evaluate("""() => ({
      shown_ms: window.shown - window.pressed,
      engine_ms: 1000 * document.querySelector('.arena').app.trace.times[0].t,
      prompt_tokens: document.querySelector('.arena').app.trace.meta.prompt_tokens[0] })""")


def start(home: str) -> tuple[str, subprocess.Popen]:
    port = free_port()
    environment = {**os.environ, "LLMDEMO_HOME": home, "HF_HUB_OFFLINE": "1", "LLMDEMO_MIN_FREE_BYTES": "0"}
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}/"
    page_of(url, app)
    return url, app


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", required=True, help="home folder that holds the model")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prompt-tokens", type=int, default=50)
    parser.add_argument("--out", help="also write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
