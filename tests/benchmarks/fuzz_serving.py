"""Ten thousand requests drawn from the served models' OpenAPI document: no 500. `python tests/benchmarks/fuzz_serving.py [N]`

The strategies and the check are the test suite's (tests/serving/test_fuzz.py), over a tiny model; a summary by status.
"""

import importlib.util
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hypothesis import HealthCheck, Phase, given, settings
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llmdemo.arena import Arena
from llmdemo.core.store import Home
from llmdemo.serving import Serving
from llmdemo.serving.routes import routes
from llmdemo.settings import Settings


def module(path: str):
    """A test module or a conftest, by its path."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def main(number: int) -> None:
    fuzz, common = module("tests/serving/test_fuzz.py"), module("tests/conftest.py")
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home").prepare()
        tokenizer = common.make_tokenizer()
        common.make_llama(len(tokenizer)).save_pretrained(home.models / "starter")
        tokenizer.save_pretrained(home.models / "starter")
        limits = Settings(home=home.root, min_free_bytes=0)
        arena = Arena(home, limits)
        serving = Serving(home, limits, lambda: arena, lambda: None)
        serving.serve("starter", "tiny")
        key = serving.create_key("fuzz", [], 1_000_000, False)["key"]
        counts: Counter[int] = Counter()
        app = Starlette(routes=routes(serving))
        with TestClient(app, headers={"authorization": f"Bearer {key}"}, raise_server_exceptions=False) as web:

            @settings(
                max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
            )
            @given(request=fuzz.REQUESTS)
            def run(request):
                counts[fuzz.check(web, *request)] += 1

            started = time.perf_counter()
            run()
        print(f"{counts.total():,} requests in {time.perf_counter() - started:.0f} s: {dict(sorted(counts.items()))}")
        shutil.rmtree(home.root, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
