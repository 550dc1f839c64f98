"""A guest who means harm, as a process of its own beside the load of load_arena.py; on loopback, and bounded.

    python tests/benchmarks/hostile_guest.py URL SECONDS

From another address of this computer (127.0.0.9): idle connections, nested JSON and nonsense in turn, posts that nobody
reads, the largest pages over and over. Prints how often which status came.
"""

import json
import socket
import sys
import time
from collections import Counter
from itertools import cycle
from urllib.parse import urlsplit

import httpx

ADDRESS = "127.0.0.9"
IDLE = 450
AT_MOST_A_SECOND = 40


def main() -> int:
    url, seconds = sys.argv[1], float(sys.argv[2])
    end = time.monotonic() + seconds
    statuses: Counter = Counter()
    opened = hold_idle(url)
    transport = httpx.HTTPTransport(local_address=ADDRESS)
    with httpx.Client(base_url=url, transport=transport, timeout=20) as client:
        while (config := client.get("config")).status_code != 200 and time.monotonic() < end:
            time.sleep(0.2)  # until the server has seen that some of the connections are closed
        events = config.json()["dependencies"]
        arena = next(one["id"] for one in events if any(target[1] == "compare_many" for target in one["targets"]))
        for number, (method, path, body) in enumerate(cycle(requests(arena))):
            if time.monotonic() > end:
                break
            body = body.replace(b"SESSION", b"s%d" % number)
            try:
                sent = client.request(method, path, content=body, headers={"content-type": "application/json"})
                statuses[f"{path.split('?')[0]} {sent.status_code}"] += 1
            except httpx.HTTPError as error:
                statuses[f"{path.split('?')[0]} {type(error).__name__}"] += 1
            time.sleep(1 / AT_MOST_A_SECOND)
            if number % 200 == 0:
                client.cookies.clear()
    for one in opened:
        one.close()
    statuses["cpu_seconds"] = round(time.process_time(), 1)
    print(json.dumps(dict(sorted(statuses.items()))))
    return 0


def hold_idle(url: str) -> list[socket.socket]:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    opened = []
    for number in range(IDLE):
        try:
            one = socket.create_connection((host, port), 5, source_address=(ADDRESS, 0))
            one.sendall(f"GET /gradio_api/heartbeat/idle{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            opened.append(one)
        except OSError:
            continue
    for one in opened[400:]:  # these were refused; the next ones to come are the requests
        one.close()
    for one in opened[350:400]:
        one.close()
    return opened[:350]


def requests(arena: int) -> list[tuple[str, str, bytes]]:
    batch = {"model_ids": ["starter"], "prompts": ["Hello"] * 20, "settings": {"max_new_tokens": 256}, "run_id": "x"}
    unread = {"data": ["starter", "Write a long story.", {"max_new_tokens": 256, "num_beams": 8}]}
    deep = json.dumps({"data": [[{"a": [[]] * 50}] * 3000], "session_hash": "SESSION", "fn_index": 0}).encode()
    return [
        ("POST", "gradio_api/queue/join", deep),
        ("POST", "gradio_api/component_server", b"[" * 900_000),
        ("POST", "gradio_api/call/compare", json.dumps(unread).encode()),
        (
            "POST",
            "gradio_api/queue/join",
            json.dumps({"data": [], "event_data": batch, "fn_index": arena, "session_hash": "SESSION"}).encode(),
        ),
        ("POST", "gradio_api/call/nothing", b'{"data": 5}'),
        ("GET", "config", b""),
        ("GET", "gradio_api/info", b""),
        ("GET", "gradio_api/queue/data?session_hash=unknown", b""),
        (
            "POST",
            "gradio_api/call/compare",
            b'{"data": [{"path": "http://127.0.0.1:9/x", "meta": {"_type": "gradio.FileData"}}]}',
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
