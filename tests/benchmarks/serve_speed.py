"""Sixteen clients at once, 64 tokens each, starter model: our /v1/chat/completions against `transformers serve`.

    python tests/benchmarks/serve_speed.py [clients] [rounds] [--shapes 135M 1.7B --device cuda --dtype bfloat16] [--plain]

Both serve the same folder on this machine in the same dtype, one after the other in the same run; `transformers serve`
with its continuous batching, with --plain without it too. Tokens are counted as each server counts them
(usage.completion_tokens). The first round of each is a warm-up and not counted. Beside tokens a second it says tokens a second
of CPU time of the server, which other work on the machine disturbs less. --shapes: models of random weights
(memory_estimate_check.py makes them) in the place of the starter, for a machine without it. On a GPU, in some four minutes:

    python tests/benchmarks/serve_speed.py 16 2 --shapes 135M --device cuda --dtype bfloat16 --alone --wait 60

--alone: ours is asked by one client too, as a GPU's steps are shared between requests and captured for none.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.waiting import free_port

TOKENS, WAIT = 64, 120
"""Of each answer; seconds after which a server has not answered."""
QUESTIONS = [f"Tell me about number {n}, and about three things that people associate with it." for n in range(64)]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}assistant:"
)
THEIRS = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
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
            yield f"http://127.0.0.1:{port}/v1", psutil.Process(process.pid)
        except BaseException:
            print(f"{log.name} ends with: {log.read_text(errors='replace')[-2500:]}", flush=True)
            raise
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
        try:
            answer = httpx.post(
                f"{url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=WAIT
            )
        except httpx.HTTPError as error:
            return errors.append(f"{type(error).__name__} after {time.perf_counter() - begun:.0f} s")
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


def report(
    name: str, served: tuple[str, psutil.Process], model: str, key: str, clients: int, rounds: int, extra: dict
) -> tuple[float, float]:
    """(tokens a second, tokens a second of the server's CPU time), which are printed too."""
    url, process = served
    measure(url, model, key, clients, extra)
    began = cpu_seconds(process)
    runs = [measure(url, model, key, clients, extra) for _ in range(rounds)]
    cpu = cpu_seconds(process) - began
    tokens = [count for _, count, _ in runs]
    speeds = sum(tokens) / sum(wall for wall, _, _ in runs), sum(tokens) / cpu
    slowest = max(each for _, _, seconds in runs for each in seconds)
    print(
        f"{name}: {speeds[0]:.1f} tokens/s, {speeds[1]:.1f} a CPU second ({clients} clients, tokens {tokens}, slowest "
        f"request {slowest:.1f} s, load {os.getloadavg()[0]:.1f})",
        flush=True,
    )
    return speeds


def cpu_seconds(process: psutil.Process) -> float:
    """Of the server and its children."""
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])


def compare(folder: Path, model: Path, args: argparse.Namespace) -> None:
    """Serves `model` by each server in turn and prints their speeds."""
    home, port, key_file = folder / "home", free_port(), folder / "key"
    (home / "models").mkdir(parents=True)
    (home / "models" / "starter").symlink_to(model)
    command = [sys.executable, "-c", OURS, str(home), str(port), str(key_file)]
    precision = {"float32": "fp32", "bfloat16": "bf16"}[args.dtype]
    with server(command, port, folder / "ours.log") as served:
        extra = {"temperature": 0, "min_tokens": TOKENS, "precision": precision}
        for clients in (1, args.clients) if args.alone else (args.clients,):
            ours = report(f"ours, {precision}", served, "starter", key_file.read_text(), clients, args.rounds, extra)
    for flags in (["--continuous-batching"], []) if args.plain else (["--continuous-batching"],):
        port = free_port()
        command = [sys.executable, "-c", THEIRS, "serve", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--device", args.device, "--dtype", args.dtype, *flags, str(model)]
        name = f"transformers serve {' '.join(flags)}".strip()
        try:
            with server(command, port, folder / "theirs.log", {"HF_HUB_OFFLINE": "1"}) as served:
                extra = {"temperature": 0}
                theirs = report(f"{name}, {precision}", served, str(model), "x", args.clients, args.rounds, extra)
            print(f"ours / {name}: {ours[0] / theirs[0]:.2f}, by CPU time {ours[1] / theirs[1]:.2f}", flush=True)
        except (AssertionError, httpx.HTTPError, IndexError, ZeroDivisionError) as error:
            print(f"{name} did not answer: {str(error)[:500]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", type=int, nargs="?", default=16)
    parser.add_argument("rounds", type=int, nargs="?", default=1)
    parser.add_argument("--shapes", nargs="*", default=[])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--wait", type=float, default=WAIT)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    globals()["WAIT"] = args.wait
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that both servers end with this script
    with tempfile.TemporaryDirectory() as folder:
        for model in models(Path(folder), args.shapes):
            print(f"## {model.name}", flush=True)
            (Path(folder) / f"of-{model.name}").mkdir()
            compare(Path(folder) / f"of-{model.name}", model, args)


def models(folder: Path, shapes: list[str]) -> Iterator[Path]:
    """The folder of each model: the tests' starter, or one of random weights a shape, with a chat template."""
    if not shapes:
        import platformdirs

        yield Path(platformdirs.user_cache_dir("llmdemo-tests", appauthor=False)) / "models" / "starter"
        return
    sys.path.insert(0, str(Path(__file__).parent))
    import memory_estimate_check

    for shape in shapes:
        memory_estimate_check.make_model(folder / shape, shape)
        (folder / shape / "chat_template.jinja").write_text(TEMPLATE)
        name_all_tokens(folder / shape)
        yield folder / shape


def name_all_tokens(folder: Path) -> None:
    """A random model says any of its tokens: those that the small tokenizer lacks get names, which no text is cut into."""
    made = json.loads((folder / "tokenizer.json").read_text())
    vocabulary, rows = made["model"]["vocab"], json.loads((folder / "config.json").read_text())["vocab_size"]
    vocabulary |= {f"t{number}": number for number in range(len(vocabulary), rows)}
    (folder / "tokenizer.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
