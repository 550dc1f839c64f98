"""Faults, by the hundred: is every run in a true state afterwards, and is nothing lost or left?

    python tests/benchmarks/runs_faults.py                  # all parts, about ten minutes, mostly waiting
    python tests/benchmarks/runs_faults.py kills --kills 60 --seed 7
    python tests/benchmarks/runs_faults.py kills --real --minutes 13 --longest 12 --patience 300
    python tests/benchmarks/runs_faults.py --out faults.json

Parts: kills, full_disk, torn_record, read_only, queue, presses, stubborn, clock, flood. `--real` starts the real worker on a tiny
model (runs_tiny.py), as a run of one process is started: without a launcher beside it; without it a worker without a model is used that obeys the same contract, whose "weights"
are a chain of hashes over its steps.
full_disk and read_only need root and Linux, for a small tmpfs; without, they say so and are left out.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from runs_common import (
    FAKE_CONFIG,
    fake_command,
    fake_weights,
    family,
    fingerprint,
    open_runs,
    scratch_home,
    wait_final,
    wait_until,
    whole_checkpoints,
)
from runs_disk import full_disk, read_only

from llmdemo.core.errors import UserError
from llmdemo.jobs.states import ALIVE, FINAL, is_legal
from llmdemo.runs import Runs
from llmdemo.runs.folder import RunFolder


class App:
    """The app in a process of its own, told what to do over its standard input."""

    def __init__(self, root: Path, real: bool):
        argv = [sys.executable, __file__, "--serve", str(root), *(["--real"] if real else [])]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def do(self, method: str, *args):
        self.process.stdin.write(json.dumps([method, *args]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def status(self, run_id: str) -> dict:
        return self.do("status", run_id)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def serve(root: Path, real: bool) -> None:
    """What the process of an App does until it is killed."""
    app = open_runs(root, None if real else fake_command)
    print("ready", flush=True)
    for line in sys.stdin:
        method, *args = json.loads(line)
        print(json.dumps(getattr(app, method)(*args)), flush=True)


# -- 200 kills


def kills(args) -> dict:
    """SIGKILL for the worker, the launcher or the app at a random moment, then resume until it is completed."""
    rng, counts, worst, problems = random.Random(args.seed), Counter(), 0.0, []
    with scratch_home() as root:
        config = tiny_config(root) if args.real else FAKE_CONFIG
        app = App(root, args.real)
        expected = undisturbed(app, root, config, args)
        done, end = 0, time.monotonic() + 60 * args.minutes
        while done < args.kills and time.monotonic() < end:
            victim = rng.choice([each for each in args.victims if each != "launcher" or not args.real])
            run_id = app.do("start", config)
            folder = root / "runs" / run_id
            wait_until(lambda folder=folder: RunFolder(folder).process().get("pid"), 20)
            if victim == "worker" and not args.real:  # the launcher takes a while to start it
                wait_until(lambda folder=folder: len(family(folder)) > 1, args.patience)
            time.sleep(rng.uniform(0, args.longest))
            launcher = RunFolder(folder).process().get("pid")
            before, hit = strike(app, folder, "launcher" if victim == "worker" and args.real else victim)
            done += hit
            begun = time.monotonic()
            if victim == "app" and hit:
                app = App(root, args.real)
            what, seconds, trouble = judge(app, folder, run_id, launcher, victim, hit, begun)
            worst = max(worst, seconds)
            after = (folder / "events.jsonl").read_bytes() if (folder / "events.jsonl").exists() else b""
            if not after.startswith(before):
                trouble.append("events were lost")
            if not whole_checkpoints(folder):
                trouble.append("a checkpoint is not whole")
            if app.status(run_id)["state"] == "failed":
                app.do("resume", run_id)
            status = wait_final(app, run_id, args.patience)
            if status["state"] != "completed" or fingerprint(folder) != expected:
                trouble.append(
                    f"ended as {status['state']} {status['reason']} {status['message']}, or with other weights"
                )
            if family(folder):
                trouble.append("a process is left")
            counts[f"{victim}: {what}"] += 1
            print(f"\r{done} of {args.kills} kills", end="", file=sys.stderr, flush=True)
            problems += [f"{done} {victim} {run_id}: {each}" for each in trouble]
            app.do("delete", run_id)
        app.kill()
    rows = dict(sorted(counts.items()))
    return {**rows, "kills": done, "slowest to a true state (s)": round(worst, 2), "problems": problems}


def undisturbed(app: App, root: Path, config: dict, args) -> str:
    run_id = app.do("start", config)
    status = wait_final(app, run_id, args.patience)
    assert status["state"] == "completed", (status, app.do("log_tail", run_id))
    found = fingerprint(root / "runs" / run_id)
    if not args.real:
        weights = json.dumps({"weights": fake_weights(config["steps"])}).encode()
        assert found == hashlib.sha256(weights).hexdigest()
    return found


def strike(app: App, folder: Path, victim: str) -> tuple[bytes, bool]:
    """Kills; returns the whole events until then, and whether there was somebody to kill."""
    pid = app.process.pid
    if victim != "app":
        launcher = RunFolder(folder).process().get("pid")
        others = sorted(set(family(folder)) - {launcher})
        pid = launcher if victim == "launcher" else (others or [None])[-1]
        hit = pid in family(folder)
    else:
        hit = True
    if hit and victim != "app":
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            hit = False  # it ended in this moment
    elif hit:
        app.kill()
    events = folder / "events.jsonl"
    data = events.read_bytes() if events.exists() else b""
    return data[: data.rfind(b"\n") + 1], hit


def settled(app: App, folder: Path, run_id: str, launcher: int) -> str:
    """How a run stands whose `launcher` was killed: "goes on" once its worker is the one that is watched, or "ended"."""
    if app.status(run_id)["state"] in FINAL:
        return "ended"
    watched = RunFolder(folder).process().get("pid")
    return "goes on" if watched != launcher and watched in family(folder) else ""


def judge(
    app: App, folder: Path, run_id: str, launcher: int, victim: str, hit: bool, begun: float
) -> tuple[str, float, list[str]]:
    """How the run took it: (in a word, seconds until the state was true, what is wrong with it)."""
    if not hit:
        return "was not there (not counted)", 0.0, []
    if victim == "app":
        status = app.status(run_id)
        alive = status["state"] in ("queued", *ALIVE)
        return ("goes on" if alive else f"found {status['state']}"), time.monotonic() - begun, []
    if victim == "launcher" and wait_until(lambda: settled(app, folder, run_id, launcher), 10) == "goes on":
        return "goes on without it", time.monotonic() - begun, []
    done = wait_until(lambda: app.status(run_id)["state"] in FINAL, 10)
    seconds, status = time.monotonic() - begun, app.status(run_id)
    trouble = [] if done and seconds <= 5 else [f"no true state after {seconds:.1f} s: {status['state']}"]
    if status["state"] == "failed" and status["reason"] != "lost":
        trouble.append(f"the reason is {status['reason']}")
    return f"{status['state']} {status['reason']}".strip(), seconds, trouble


# -- the rest


def torn_record(args) -> dict:
    """events.jsonl cut at every byte of its last record, with and without the table."""
    counts, problems = Counter(), []
    with scratch_home() as root:
        app = open_runs(root, fake_command)
        run_id = app.start({"steps": 4, "step_seconds": 0})
        wait_final(app, run_id)
        app.close()
        path = root / "runs" / run_id / "events.jsonl"
        whole = path.read_bytes()
        last = len(whole) - len(whole.splitlines(True)[-1])
        for cut in range(last, len(whole) + 1):
            path.write_bytes(whole[:cut])
            for file in root.glob("runs.sqlite*"):
                file.unlink()
            app = open_runs(root, fake_command)
            status = app.status(run_id)
            counts[f"{status['state']} {status['reason']}".strip()] += 1
            right = "completed" if cut >= len(whole) - 1 else "failed"
            if status["state"] != right or status["step"] != 4 or len(app.series(run_id)["loss"]["step"]) != 4:
                problems.append(f"cut at {cut - last}: {status['state']}, step {status['step']}")
            app.close()
    return {**dict(counts), "problems": problems}


def queue(args) -> dict:
    """50 runs queued at once from four threads; they all run, one after the other, in order."""
    with scratch_home() as root:
        app, begun = open_runs(root, fake_command), time.monotonic()
        threads = [threading.Thread(target=start_some, args=(app, 13 if n < 2 else 12)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept = time.monotonic() - begun
        ids = [status["run_id"] for status in reversed(app.list())]
        done = wait_until(lambda: all(status["state"] == "completed" for status in app.list()), 120)
        times = [[each["t"] for each in app.history(run_id)] for run_id in ids]
        alone = all(before[-1] <= after[1] for before, after in zip(times, times[1:], strict=False))
        problems = [] if done and alone and len(ids) == 50 else ["they did not all run one after the other, in order"]
        seconds = time.monotonic() - begun
        app.close()
    return {
        "runs": len(ids),
        "queued in (s)": round(kept, 2),
        "all done in (s)": round(seconds, 1),
        "problems": problems,
    }


def start_some(app: Runs, count: int) -> None:
    for _ in range(count):
        app.start({"steps": 1, "step_seconds": 0})


def presses(args) -> dict:
    """Two apps on one home, four pages that press anything at any time: all that happens is legal, nothing is left."""
    counts, surprises = Counter(), []
    with scratch_home() as root:
        grace = {"runs_at_once": 2, "stop_grace_seconds": 0.5, "term_grace_seconds": 0.3}
        apps = [open_runs(root, fake_command, **grace) for _ in range(2)]
        threads = [
            threading.Thread(target=press, args=(apps[n % 2], random.Random(args.seed + n), counts, surprises))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for status in apps[0].list():
            apps[1].stop(status["run_id"])
        ended = wait_until(lambda: all(status["state"] in FINAL for status in apps[0].list()), 60)
        problems = surprises + ([] if ended else ["they did not all end"])
        for status in apps[1].list():
            states = [None, *(each["state"] for each in apps[1].history(status["run_id"]))]
            if not all(map(is_legal, states, states[1:])) or states[-1] != status["state"]:
                problems.append(f"an illegal way: {states}")
            if family(root / "runs" / status["run_id"]):
                problems.append("a process is left")
        folders = {path.name for path in (root / "runs").iterdir()}
        if folders != {status["run_id"] for status in apps[1].list()}:
            problems.append("folders and table differ")
        for app in apps:
            app.close()
    return {**dict(sorted(counts.items())), "problems": problems}


def press(app: Runs, rng: random.Random, counts: Counter, surprises: list) -> None:
    words = [[], [], ["ignore_stop"], ["ignore_stop", "ignore_sigterm"], ["crash"], ["kill_self"], ["fork"], ["linger"]]
    for _ in range(100):
        what = rng.choice(["start", "stop", "stop", "resume", "cancel", "clone", "delete", "reorder", "list", "series"])
        ids = [status["run_id"] for status in app.list()] if what != "start" else []
        try:
            if what == "start":
                app.start({"steps": rng.randint(1, 60), "launcher": rng.random() < 0.5, "misbehave": rng.choice(words)})
            elif what == "list":
                app.list()
            elif ids:
                getattr(app, what)(rng.choice(ids), *([rng.randint(-1, 9)] if what == "reorder" else []))
            counts[what] += 1
        except UserError:
            counts[f"{what}: refused with a sentence"] += 1
        except Exception as error:
            surprises.append(f"{what}: {error!r}")
        time.sleep(rng.uniform(0, 0.15))


def stubborn(args) -> dict:
    """Workers that ignore what they are told, fork, or hide their children: Stop leaves no process of any."""
    words = {
        "ignores the stop file": ["ignore_stop"],
        "ignores SIGTERM too": ["ignore_stop", "ignore_sigterm"],
        "forks": ["ignore_stop", "ignore_sigterm", "fork"],
        "has a child in another session": ["ignore_stop", "ignore_sigterm", "escape"],
        "hangs at its start": ["hang_in_start", "ignore_sigterm"],
        "stays after its end": ["linger"],
    }
    figures, problems = {}, []
    with scratch_home() as root:
        app = open_runs(root, fake_command, stop_grace_seconds=1.0, term_grace_seconds=1.0)
        for what, misbehave in words.items():
            run_id = app.start(
                {"steps": 3 if misbehave == ["linger"] else 10_000, "launcher": True, "misbehave": misbehave}
            )
            folder = root / "runs" / run_id
            wait_until(lambda folder=folder: len(family(folder)) > 1, 20)
            wait_until(lambda run_id=run_id: app.status(run_id)["state"] != "starting", 3)
            begun = time.monotonic()
            app.stop(run_id)
            app.stop(run_id)  # a second press is harmless
            status = wait_final(app, run_id, 20)
            figures[f"{what}: {status['state']}, after (s)"] = round(time.monotonic() - begun, 1)
            if status["state"] not in ("stopped", "completed") or family(folder):
                problems.append(f"{what}: {status['state']}, {len(family(folder))} processes left")
        app.close()
    return {**figures, "problems": problems}


def clock(args) -> dict:
    """The clock is set back by a day while runs go and wait: order, states and curves stay as they are."""
    real, problems = time.time, []
    with scratch_home() as root:
        app = open_runs(root, fake_command)
        first = app.start({"steps": 60, "step_seconds": 0.02, "clock_back_at": 20})
        wait_until(lambda: app.status(first)["state"] == "running", 20)
        time.time = lambda: real() - 86_400
        try:
            others = [app.start({"steps": 3, "clock_back_at": 0}) for _ in range(3)]
            order = [status["run_id"] for status in app.list()]
            wait_until(lambda: all(status["state"] in FINAL for status in app.list()), 60)
        finally:
            time.time = real
        if order != [*reversed(others), first]:
            problems.append("the order follows the clock")
        for status in app.list():
            seconds = app.series(status["run_id"])["loss"]["seconds"]
            if status["state"] != "completed" or seconds != sorted(seconds) or seconds[-1] > 60:
                problems.append(f"{status['state']}, a curve from {seconds[0]} to {seconds[-1]} s")
        app.close()
        app = open_runs(root, fake_command)
        if [status["run_id"] for status in app.list()] != order:
            problems.append("another order after a restart")
        app.close()
    return {"runs": len(order), "problems": problems}


def flood(args) -> dict:
    """A worker that prints 50 MB/s for ten seconds: how large does its log get, and what does watching cost?"""
    import psutil

    with scratch_home() as root:
        app = open_runs(root, fake_command)
        run_id = app.start({"steps": 4, "misbehave": ["flood"]})
        log, sizes = root / "runs" / run_id / "log.txt", []
        wait_until(lambda: log.exists() and log.stat().st_size > 2**20, 20)
        mine = psutil.Process()
        cpu, begun = sum(mine.cpu_times()[:2]), time.monotonic()
        while time.monotonic() - begun < 10:
            sizes.append(log.stat().st_size)
            time.sleep(0.05)
        share = (sum(mine.cpu_times()[:2]) - cpu) / 10
        app.stop(run_id)
        status = wait_final(app, run_id)
        at_end = log.stat().st_size
        app.close()
    problems = (
        [] if max(sizes) < 100e6 and at_end < 5 * 2**20 and status["state"] in FINAL else ["the log grew too large"]
    )
    return {
        "largest log (MB)": round(max(sizes) / 1e6, 1),
        "log at the end (MB)": round(at_end / 1e6, 1),
        "CPU of the app (%)": round(100 * share, 1),
        "problems": problems,
    }


def tiny_config(root: Path) -> dict:
    from runs_tiny import tiny_config as make  # needs torch, which nothing else here does

    return make(root)


PARTS = {
    each.__name__: each for each in (kills, full_disk, torn_record, read_only, queue, presses, stubborn, clock, flood)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], metavar="PART")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="kills: begin no further one after so long")
    victims = ["worker", "launcher", "app"]
    parser.add_argument("--victims", nargs="+", choices=victims, default=victims, help="whom to kill")
    parser.add_argument("--longest", type=float, default=0.8, help="kill within so many seconds of the launch")
    parser.add_argument("--patience", type=float, default=60, help="seconds that a run may take to its end")
    parser.add_argument("--disk-step", type=int, default=8, help="KiB of free space between two trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true", help="use the real worker, on a tiny model")
    parser.add_argument("--out", help="write the figures as JSON")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(Path(args.serve), args.real)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is registered for the end is done
    results = {}
    for name in args.parts or PARTS:
        begun = time.monotonic()
        results[name] = PARTS[name](args) | {"seconds": round(time.monotonic() - begun, 1)}
        print(f"\n{name}: {PARTS[name].__doc__.splitlines()[0]}")
        for key, value in results[name].items():
            print(f"  {key:45} {value}", flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1))
    return int(any(each.get("problems") for each in results.values()))


if __name__ == "__main__":
    sys.exit(main())
