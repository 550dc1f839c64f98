"""GGUF files in llama.cpp itself (node-llama-cpp from npm): the same tokens for the same texts, the same greedy answers.

With f32, and run as the file's README says, all is computed in 32 bits and every answer is the same. Weights in 16 bits make
llama.cpp round activations to 16 bits too, so that a tie between two tokens may fall otherwise: where an answer differs, the
two tokens' logits must lie within TIE of each other.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmdemo.serving.gguf_write import write_gguf
from tests.serving.gguf_models import MODELS, make

HERE = Path(__file__).resolve().parent
PACKAGE = "node-llama-cpp@3.21.1"
TIE = 0.05
QUESTIONS = [
    "Compose an engaging travel blog post about a recent trip to Hawaii.",
    "What is the capital of France, and why is it there?",
    "Write a function in Python that says whether a number is prime.",
    "A train leaves at 3 pm and travels 120 km at 60 km/h. When does it arrive?",
    "Explain why the sky is blue to a child of five years.",
    "Translate to French: Good morning, how are you? It's 10 o'clock!",
]


@pytest.fixture(scope="session")
def node(tmp_path_factory) -> Path:
    """A folder with node-llama-cpp, kept between test runs; without npm the test is skipped with a sentence."""
    import platformdirs

    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not on this machine, so no llama.cpp can be had to read the files.")
    folder = Path(platformdirs.user_cache_dir("llmdemo-tests", appauthor=False)) / "node-llama-cpp"
    if not (folder / "node_modules" / "node-llama-cpp").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
        if done.returncode:
            pytest.skip(f"{PACKAGE} could not be had from npm, so no llama.cpp reads the files: {done.stderr[-200:]}")
    return folder


def said_by_llama_cpp(node: Path, files: dict[Path, bool], prompts, texts, most: int, ends: list[int]) -> list[dict]:
    """What it says with each of the files, which all are in one folder; True for one that is run in 32 bits throughout."""
    asked = next(iter(files)).with_name("asked.json")
    wanted = {"prompts": prompts, "texts": texts, "most": most, "ends": ends, "threads": 1}
    asked.write_text(json.dumps({**wanted, "files": [{"file": str(file), "exact": files[file]} for file in files]}))
    command = ["node", str(HERE / "greedy.mjs"), str(asked)]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()[-len(files) :]]


def gap_at_difference(model, prompt: list[int], said: list[int]) -> float | None:
    """How far the first token that our greedy answer would not have said is below ours, in logits; None where all agree."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1]
    ours = logits.argmax(-1).tolist()
    place = next((place for place, pair in enumerate(zip(ours, said, strict=True)) if pair[0] != pair[1]), None)
    return None if place is None else float(logits[place, ours[place]] - logits[place, said[place]])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_says_what_the_model_says(name, node, tiny_tokenizer, tmp_path):
    folder = make(name, tiny_tokenizer, tmp_path / "model")
    prompts = [tiny_tokenizer(text)["input_ids"] for text in QUESTIONS]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    files = {tmp_path / f"{weights}.gguf": weights == "f32" for weights in ("f32", "f16")}
    for file in files:
        write_gguf(folder, file, file.stem, "tiny")
    for (file, exact), found in zip(
        files.items(), said_by_llama_cpp(node, files, prompts, QUESTIONS, 12, []), strict=True
    ):
        assert found["ids"] == prompts
        gaps = [gap_at_difference(model, *pair) for pair in zip(prompts, found["tokens"], strict=True)]
        assert all(gap is None or gap < TIE for gap in gaps), gaps
        assert sum(gap is None for gap in gaps) >= len(gaps) - (not exact), file.name


@pytest.mark.slow
def test_llama_cpp_answers_as_the_starter_model_does(node, starter_model, tmp_path):
    write_gguf(starter_model, tmp_path / "starter.gguf", "f16", "starter")
    tokenizer = AutoTokenizer.from_pretrained(starter_model)
    turns = [[{"role": "user", "content": question}] for question in QUESTIONS]
    prompts = [tokenizer.apply_chat_template(each, add_generation_prompt=True, return_dict=False) for each in turns]
    texts = [tokenizer.apply_chat_template(each, add_generation_prompt=True, tokenize=False) for each in turns]
    (found,) = said_by_llama_cpp(node, {tmp_path / "starter.gguf": False}, prompts, texts, 32, [2])
    assert found["ids"] == prompts
    model = AutoModelForCausalLM.from_pretrained(starter_model, dtype=torch.float32)
    gaps = [gap_at_difference(model, *pair) for pair in zip(prompts, found["tokens"], strict=True)]
    assert all(gap is None or gap < TIE for gap in gaps), gaps
