"""Twenty thousand requests that name files on another host, in every disguise: does the server ask that host even once?

    python tests/benchmarks/fuzz_file_data.py [--requests 20000] [--seed 0] [--layers all|guard|none] [--out FILE]

Starts the app in this process on a tiny random model and a counting HTTP server beside it, both on loopback, which
Gradio's own check is told to take for the world. `--layers guard` puts Gradio's downloaders back, so that the guard
alone holds them off; `none` takes the guard's judgement away as well, to see that the requests would bite. Ends with 1
if the host was asked (with `none`: if it was not) or anything was answered with a status of 500 or more.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx
import safehttpx
from public_common import tiny_model

from llmdemo.settings import Settings
from llmdemo.ui import gradio_internals, request_limits
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import make_services
from tests.file_data import CountingHost, Maker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", choices=("all", "guard", "none"), default="all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    safehttpx.is_public_ip = lambda ip: True
    host = CountingHost()
    with tempfile.TemporaryDirectory() as scratch:
        tiny_model(Path(scratch) / "home" / "models" / "starter")
        services = make_services(Settings(home=Path(scratch) / "home", min_free_bytes=0))
        page = build(services)
        take_away(options.layers)
        _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
        begun = time.monotonic()
        maker = Maker(options.seed, host.address, max(page.fns) + 1, list(page.blocks))
        statuses = send(url, maker, options.requests)
        time.sleep(1)  # what was accepted is still being taken from the queue
        seconds = time.monotonic() - begun
        page.close(verbose=False)
        services.close()
    result = {
        "requests": options.requests,
        "layers": options.layers,
        "host_was_asked": len(host.asked),
        "statuses": dict(sorted(statuses.items())),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))
    as_it_should = (len(host.asked) > 0) if options.layers == "none" else not host.asked and max(statuses) < 500
    return 0 if as_it_should else 1


def take_away(layers: str) -> None:
    if layers == "all":
        return
    for part, original in zip(gradio_internals.PARTS, gradio_internals.ORIGINALS, strict=True):
        setattr(part.owner, part.name, original)
    if layers == "none":
        request_limits.checked = lambda body, bounds, is_upload: (None, body)


def send(url: str, maker: Maker, requests: int) -> Counter:
    statuses: Counter = Counter()
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=60) as client:
        for number in range(requests):
            method, path, headers, body = maker.request()
            chunked = iter([body[:20], body[20:]]) if number % 2 else body
            statuses[client.request(method, path, headers=headers, content=chunked or None).status_code] += 1
    return statuses


if __name__ == "__main__":
    sys.exit(main())
