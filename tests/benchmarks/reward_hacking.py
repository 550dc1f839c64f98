"""The lesson's reward that can be hacked, as a run of the starter: held-out reward and held-out right answers by step.

    python tests/benchmarks/reward_hacking.py --home FOLDER [--from starter] [--set learning_rate=2e-5] [--seconds 280]

The settings are those of the Learn panel (learn/prepared.py): first "Start here", then the run whose reward is brevity. With
--from starter it starts from the starter itself, which gives no right answer before either. --seconds stops after that time;
the same command again goes on from there. Both figures are of greedy answers to the same held-out messages.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from learn_from_checker import folder_of, opened, ran, show, values_of


def main() -> int:
    args = arguments()
    from llmdemo.learn.prepared import FIRST, RACES

    home, sample = opened(args.home)
    started, cpu, until = time.time(), time.process_time(), time.monotonic() + args.seconds
    first = None if args.start == "starter" else folder_of(home, "first", FIRST, sample, "starter")
    done = first is None or ran(first, until)
    settings = RACES["hacking"]["pressed"] | values_of(args.set)
    second = folder_of(home, f"{args.name}-{args.start}", settings, sample, first.name if first else "starter")
    done = done and ran(second, until)
    show(second, started)
    print(f"{time.time() - started:.0f} s, {time.process_time() - cpu:.0f} s of CPU in this call")
    return 0 if done else 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="home folder, which keeps both runs")
    parser.add_argument("--from", dest="start", choices=("first", "starter"), default="first")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the run")
    parser.add_argument("--name", default="hacking", help="which run of the home folder: another name is another run")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after that long, and go on by the next call")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
