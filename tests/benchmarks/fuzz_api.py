"""Ten thousand calls of the API's endpoints with whatever comes to mind: is there a 500, a hang, a traceback?

    python tests/benchmarks/fuzz_api.py [--calls 10000] [--seed 0] [--guest] [--out FILE]

Starts the app on a tiny random model. Each call goes to one of the named endpoints or of Gradio's own routes, with
arguments that are right, nearly right, or nonsense. A call must be answered within 30 seconds, with no status of 500
or more other than an honest 503, and without a traceback. With --guest as somebody who has not signed in.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx
from public_common import Watch, started_app

ENDPOINTS = {
    "add_dataset": ["file", "text"],
    "list_datasets": [],
    "rename_dataset": ["id", "text"],
    "delete_dataset": ["id"],
    "list_models": [],
    "start_run": ["config"],
    "run_status": ["id"],
    "list_runs": [],
    "stop_run": ["id"],
    "resume_run": ["id"],
    "clone_run": ["id"],
    "rename_run": ["id", "text"],
    "compare_runs": ["any"],
    "delete_run": ["id"],
    "push_run": ["id", "text", "text", "any", "text"],
    "compare": ["model", "text", "settings"],
}
ODD = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 1e308, float("1e-9"), "", " ", "\0", "../../etc/passwd", "/etc/passwd"),
    *("starter", "run-20260101-000000-abcdef", "data-20260101-000000-abcdef", "org/name@rev", "x" * 5000, "\ud83d\ude00" * 50),
    *("<script>alert(1)</script>", "{{7*7}}", "%00", "\u202e\x1b[31m", [], {}, [[[[]]]], {"a": {"b": [None]}}, ["starter"]),
]  # fmt: skip
KEYS = [
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "seed",
    "precision",
    "lanes",
]
CONFIG = [
    "dataset_id",
    "model_id",
    "method",
    "task",
    "rank",
    "scale",
    "learning_rate",
    "batch_size",
    "max_steps",
    "num_processes",
    "seed",
]


class Maker:
    """Makes arguments."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def odd(self):
        return self.random.choice(ODD)

    def argument(self, kind: str):
        if self.random.random() < 0.3:
            return self.odd()
        if kind == "settings":
            return {"max_new_tokens": self.random.choice([1, 2, 3]), **self.some(KEYS, 2)}
        if kind == "config":
            return {**self.some(CONFIG, 4)}
        if kind == "file":
            return {
                "path": str(self.odd()),
                "meta": {"_type": "gradio.FileData"},
                **self.some(["orig_name", "url", "size"], 2),
            }
        if kind == "model":
            return self.random.choice(["starter", "starter", "/etc", "org/name", "run-x"])
        return self.random.choice(["Hello", "run-20260101-000000-abcdef", "x"])

    def some(self, keys: list[str], most: int) -> dict:
        return {key: self.odd() for key in self.random.sample(keys, self.random.randint(0, most))}

    def call(self) -> tuple[str, object]:
        """(path, body) of one request."""
        name = self.random.choice(list(ENDPOINTS))
        arguments = [self.argument(kind) for kind in ENDPOINTS[name]]
        if self.random.random() < 0.1:
            arguments = arguments[:-1] if self.random.random() < 0.5 else [*arguments, self.odd()]
        way = self.random.random()
        if way < 0.75:
            return f"gradio_api/call/{name}", {"data": arguments}
        if way < 0.8:
            return f"gradio_api/call/v2/{name}", {str(self.odd())[:50]: self.odd()}
        if way < 0.85:
            return f"gradio_api/run/{name}", {"data": arguments}
        if way < 0.92:
            body = {
                "data": self.odd(),
                "fn_index": self.random.randint(-2, 120),
                "session_hash": self.random.choice(["s", self.odd()]),
            }
            return "gradio_api/queue/join", body
        body = {"data": self.odd(), "component_id": self.random.randint(-5, 150), "session_hash": "s"}
        return "gradio_api/component_server", {
            **body,
            "fn_name": self.random.choice(["models", "python", "predict", "stop", "label", "page"]),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guest", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    flags = ["--host", "0.0.0.0"] if options.guest else []
    limits = {"LLMDEMO_MAX_REQUESTS_PER_MINUTE": "1000000", "LLMDEMO_MAX_QUEUED_RUNS": "0"}
    with tempfile.TemporaryDirectory() as scratch, started_app(Path(scratch), *flags, env=limits) as (url, process):
        result = fuzz(url, process, options)
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))
    return 1 if result["bad"] else 0


def fuzz(url: str, process, options) -> dict:
    maker, statuses, bad, slowest = Maker(options.seed), Counter(), [], 0.0
    watch = Watch(process.pid)
    with httpx.Client(base_url=url, timeout=30) as web:
        for number in range(options.calls):
            path, body = maker.call()
            begun = time.monotonic()
            try:
                said = one(web, path, body, statuses)
            except Exception as error:  # a hang or a lost connection is what is looked for
                said = f"{type(error).__name__}: {error}"
            slowest = max(slowest, time.monotonic() - begun)
            if said:
                bad.append([path, json.dumps(body)[:200], said[:300]])
            if number % max(1, options.calls // 50) == 0:
                watch.look()
    watch.look()
    return {
        "calls": options.calls,
        "guest": options.guest,
        "statuses": {str(status): count for status, count in sorted(statuses.items(), key=str)},
        "slowest_seconds": round(slowest, 2),
        "bad": bad[:20],
        "bad_in_all": len(bad),
        **watch.report(),
    }


def one(web, path: str, body, statuses: Counter) -> str:
    """What was wrong with the answer; "" when nothing was."""
    answer = web.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    statuses[answer.status_code] += 1
    if answer.status_code >= 500 and answer.status_code != 503:
        return f"{answer.status_code} {answer.text}"
    said = answer.text
    if answer.status_code == 200 and path.startswith("gradio_api/call/"):
        got = web.get(f"gradio_api/call/{path.rpartition('/')[2]}/{answer.json()['event_id']}")
        said += got.text
        statuses["event " + ("complete" if "event: complete" in got.text else "error")] += 1
    return said if "Traceback" in said or "site-packages" in said else ""


if __name__ == "__main__":
    sys.exit(main())
