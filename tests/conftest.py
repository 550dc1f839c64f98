"""What several packages' tests share: a tiny seeded Llama with a tokenizer, a home folder, the starter model."""

import gc
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from llmdemo.access import passwords
from llmdemo.core.imports import uncollected
from llmdemo.core.store import Home
from llmdemo.jobs import process
from llmdemo.models import catalog, trial
from llmdemo.settings import Settings
from tests import forked

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TRAINING_TEXT = (
    "The quick brown fox jumps over the lazy dog. What is the capital of France? The capital of France is Paris. "
    "Edit the following sentence for grammar. He go to the park every day. He goes to the park every day. "
    'Turn this message into JSON. system user assistant Name three fruits: apples, pears and plums. 0123456789 {}[]":,'
)


def make_tokenizer(vocab_size: int = 384, chat_template: str | None = CHATML):
    """A byte-level BPE tokenizer trained on a few sentences: every text can be encoded, nothing is downloaded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TRAINING_TEXT], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
    fast.chat_template = chat_template
    return fast


def make_llama(vocab_size: int, seed: int = 0, **changes):
    """A random fp32 Llama of about 30,000 weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "tie_word_embeddings": True,
        "initializer_range": 0.15,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **{**sizes, **changes})).eval()


def own_model(folder: Path, home: Home | None = None) -> Path:
    """`folder`, which a test made: not tried in a process of its own by this one, nor by an app on `home`, as the app does
    not try what it made itself. (What is not its own is tried in tests/models/test_trial.py and on the Evaluate page.)"""
    trial._passed.add(trial.digest(folder))
    if home:
        catalog.trust_model(home, folder)
    return folder


def quick_hash(password: str) -> str:
    """A password's hash at a thirtieth of the app's costs, for tests that sign in often (real ones: test_passwords.py)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_N", 1024)
        return passwords.hash_password(password)


def pytest_configure(config) -> None:
    """The processes of a test run share one fork server; without pytest-xdist this process is the only one."""
    if forked.ADDRESS not in os.environ:
        folder = tempfile.mkdtemp(prefix="llmdemo-tests-")
        forked.fork_server(Path(folder))
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(scope="session", autouse=True)
def _workers_are_forked():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "start", forked.start_job)
        yield


@pytest.fixture
def real_starts(monkeypatch):
    """Workers that this process starts import all by themselves, as those of users do."""
    monkeypatch.delenv(forked.ADDRESS)


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """With `-m slow`, `-m alone` or `-m "not slow"`, files without such a test are not even imported."""
    mark = config.option.markexpr
    if mark == "not slow" and collection_path.match("test_*.py"):
        return "\npytestmark = pytest.mark.slow" in collection_path.read_text(encoding="utf-8") or None
    if mark in ("slow", "alone") and collection_path.match("test_*.py"):
        return f"mark.{mark}" not in collection_path.read_text(encoding="utf-8") or None
    return None


OTHERS_BETWEEN = 4
"""Files between two files of browser tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, then those with many: what ends a run on several cores must be short.

    Browser tests wait for most of their time. Several at once leave the cores idle, so those that compute are between.
    """
    counts = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    files = sorted(counts, key=lambda path: (path not in slow, -counts[path]))
    browser = [path for path in files if path.parent.name == "browser"]
    others = [path for path in files if path.parent.name != "browser"]
    place = {path: (OTHERS_BETWEEN * number, 0) for number, path in enumerate(browser)}
    place |= {path: (number, 1) for number, path in enumerate(others)}
    items.sort(key=lambda item: place[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is imported with the tests' files stays: no garbage is looked for there."""
    with uncollected():
        return (yield)


@pytest.fixture(scope="module", autouse=True)
def _nothing_looked_for_in_what_stays():
    """What the files before have imported and left is not looked through by every collection of garbage from here on:
    in a process that has built a few pages, each took half a second, and some functions ask for one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _uploads_of_no_other_test():
    """An app that a test starts in this process keeps its uploads in its home, and says so in the environment."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    yield
    if before is None:
        os.environ.pop("GRADIO_TEMP_DIR", None)
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory) -> Path:
    """A folder with a tiny Llama and its tokenizer, as save_pretrained writes it. Do not change it: copy it."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    tokenizer = make_tokenizer()
    make_llama(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return own_model(folder)


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def settings(home) -> Settings:
    return Settings(home=home.root, min_free_bytes=0)


@pytest.fixture
def starter(home, tiny_model_folder) -> str:
    """The id of the starter model, in whose place is the tiny one."""
    shutil.copytree(tiny_model_folder, home.models / "starter")
    return "starter"


@pytest.fixture(scope="session")
def starter_home() -> Home:
    """A home folder with the real starter model, kept between test runs in the user's cache folder."""
    import platformdirs
    from filelock import FileLock  # torch and transformers bring it

    from llmdemo.models.starter import fetch_starter

    root = os.environ.get("LLMDEMO_TEST_HOME") or platformdirs.user_cache_dir("llmdemo-tests", appauthor=False)
    home = Home(Path(root)).prepare()
    with FileLock(home.root / "fetch.lock"):  # pytest-xdist's processes each have this fixture
        fetch_starter(home)
    return home


@pytest.fixture(scope="session")
def starter_model(starter_home) -> Path:
    """The folder of the real starter model (slow tests only)."""
    return starter_home.models / "starter"


@pytest.fixture
def alpaca_file(tmp_path) -> Path:
    """Forty short instruction records in Alpaca fields."""
    records = [
        {"instruction": f"Add {n} and {n + 1}.", "input": "", "output": f"{n} + {n + 1} = {2 * n + 1}"}
        for n in range(40)
    ]
    path = tmp_path / "sums.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    return path
