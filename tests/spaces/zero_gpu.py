"""Run by test_spaces.py as a process of its own: the arena on an emulated ZeroGPU, through the real `spaces` package.

What is emulated is the service that lends GPUs, and the GPU itself (the CPU takes its place, so torch is not patched
either): the decorator, the fork, the queues between the processes are the real ones. Prints what happened as JSON.
"""

import json
import multiprocessing
import os
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

asked: list[tuple[str, dict]] = []


class Lender(BaseHTTPRequestHandler):
    """Lends "GPU 0" to everybody."""

    def log_message(self, *_):
        return

    def do_POST(self):
        url = urlsplit(self.path)
        asked.append((url.path, {key: value[0] for key, value in parse_qs(url.query).items()}))
        lent = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "t"}
        body = json.dumps(lent if url.path == "/schedule" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _no_cuda() -> types.ModuleType:
    """In place of what makes torch believe in a GPU, which needs torch's CUDA build."""
    module = types.ModuleType("spaces.zero.torch")
    for name in ("enter_mode", "patch", "unpatch", "init", "move"):
        setattr(module, name, lambda *_, **__: None)
    module.pack = module.size = lambda *_, **__: 0
    module.is_in_bad_fork = lambda: False
    return module


def main(home: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Lender)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "SPACE_ID": "lab/demo",
    }
    sys.modules["spaces.zero.torch"] = _no_cuda()
    import spaces  # first, as on a Space  # noqa: F401
    from spaces.zero import utils

    utils.self_cgroup_device_path = lambda: "/"
    from llmdemo.arena import Arena, zero_gpu
    from llmdemo.core.store import Home
    from llmdemo.settings import Settings

    arena = Arena(Home(home), Settings(home=home))
    # Another seed each time: an equal comparison would not be computed again.
    states = [list(arena.compare("starter", "Hello", {"max_new_tokens": 5, "seed": n}))[-1] for n in (1, 2)]
    stopped = arena.compare("starter", "Hello", {"max_new_tokens": 200})
    next(stopped)
    stopped.close()
    print(
        json.dumps(
            {
                "lanes": [state["lanes"] for state in states],
                "asked": asked,
                "lent": hasattr(zero_gpu.decode_on_gpu, "zerogpu"),
                "here": len(zero_gpu._kept),
            }
        ),
        flush=True,
    )
    for child in multiprocessing.active_children():
        child.kill()  # it waits for the next call, with our output open
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
