"""Sixteen clients at once, 64 tokens each, starter model: our /v1/chat/completions against `transformers serve`.

`python tests/benchmarks/serve_speed.py [clients] [rounds]`. Both serve the same folder on this machine's CPU in float32, one
after the other in the same run; `transformers serve` with its continuous batching, and without where that fails. Tokens
are counted as each server counts them (usage.completion_tokens). The first round of each is a warm-up and not counted.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TOKENS = 64
QUESTIONS = [f"Tell me about number {n}, and about three things that people associate with it." for n in range(64)]
OURS = """
import sys, uvicorn
from pathlib import Path
from starlette.applications import Starlette
from llmdemo.core.store import Home
from llmdemo.settings import Settings
from llmdemo.models.library import import_library
import_library()
from llmdemo.arena import Arena
from llmdemo.serving import Serving
from llmdemo.serving.routes import routes
home = Home(Path(sys.argv[1])).prepare()
settings = Settings(home=home.root)
arena = Arena(home, settings)
serving = Serving(home, settings, lambda: arena, lambda: None)
serving.serve("starter", "starter")
key = serving.create_key("speed", [], 100000, False)["key"]
Path(sys.argv[3]).write_text(key)
uvicorn.run(Starlette(routes=routes(serving)), port=int(sys.argv[2]), log_level="error")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(command: list[str], port: int, log: Path, env: dict | None = None):
    """The address of a server process once it answers; it is ended afterwards."""
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env={**os.environ, **(env or {})})
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).status_code < 500:
                        break
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def measure(url: str, model: str, key: str, clients: int, extra: dict) -> tuple[float, int, list[float]]:
    """(seconds, tokens, seconds of each request) of one round, all clients beginning together."""
    counts, seconds, errors = [], [], []
    gate = threading.Barrier(clients + 1)

    def one(number: int) -> None:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": QUESTIONS[number]}],
            "max_tokens": TOKENS,
            **extra,
        }
        gate.wait()
        begun = time.perf_counter()
        answer = httpx.post(
            f"{url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=300
        )
        if answer.status_code != 200:
            return errors.append(answer.text[:300])
        counts.append(answer.json()["usage"]["completion_tokens"])
        seconds.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    assert not errors, errors[0]
    return time.perf_counter() - started, sum(counts), seconds


def report(name: str, url: str, model: str, key: str, clients: int, rounds: int, extra: dict) -> float:
    measure(url, model, key, clients, extra)
    runs = [measure(url, model, key, clients, extra) for _ in range(rounds)]
    speed = sum(tokens for _, tokens, _ in runs) / sum(wall for wall, _, _ in runs)
    slowest = max(each for _, _, seconds in runs for each in seconds)
    tokens = [count for _, count, _ in runs]
    print(
        f"{name}: {speed:.1f} tokens/s ({clients} clients, tokens {tokens}, slowest request {slowest:.1f} s)",
        flush=True,
    )
    return speed


def main(clients: int = 16, rounds: int = 1) -> None:
    import platformdirs

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that both servers end with this script

    starter = Path(platformdirs.user_cache_dir("llmdemo-tests", appauthor=False)) / "models" / "starter"
    with tempfile.TemporaryDirectory() as folder:
        home, port, key_file = Path(folder) / "home", free_port(), Path(folder) / "key"
        (home / "models").mkdir(parents=True)
        (home / "models" / "starter").symlink_to(starter)
        command = [sys.executable, "-c", OURS, str(home), str(port), str(key_file)]
        with server(command, port, Path(folder) / "ours.log") as url:
            extra = {"temperature": 0, "min_tokens": TOKENS, "precision": "fp32"}
            ours = report("ours, fp32", url, "starter", key_file.read_text(), clients, rounds, extra)
        for flags in (["--continuous-batching"], []):
            port = free_port()
            command = ["transformers", "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
            command += ["--dtype", "float32", *flags, str(starter)]
            name = f"transformers serve {' '.join(flags)}".strip()
            try:
                with server(command, port, Path(folder) / "theirs.log", {"HF_HUB_OFFLINE": "1"}) as url:
                    theirs = report(f"{name}, fp32", url, str(starter), "x", clients, rounds, {"temperature": 0})
                print(f"ours / {name}: {ours / theirs:.2f}", flush=True)
            except (AssertionError, httpx.HTTPError) as error:
                print(f"{name} did not answer: {str(error)[:500]}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
