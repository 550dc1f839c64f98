"""Does llama.cpp say to MT-bench's questions what we say? A GGUF by node-llama-cpp against our greedy answers in fp32.

    python tests/benchmarks/gguf_questions.py --model FOLDER --questions questions.jsonl --node FOLDER [--tokens 64]
        [--weights f16] [--exact] [--rounded] [--first 0] [--count 80] [--threads 1] [--out gguf.jsonl]

FOLDER of --node is one in which `npm install --ignore-scripts node-llama-cpp@3.21.1` was run. The questions file holds
one JSON object a line with "turns", of which the first is asked. Each question becomes a line of --out, so that it can be
done in parts; `--summary gguf.jsonl` tells of all of them. --weights: f16 or f32 in the file; --exact: llama.cpp keeps keys
and values in 32 bits and takes no flash attention. Our weights are rounded to those of the file, which changes nothing where
16 bits hold them exactly (the starter). Our model reads their answer: the two are the same where each of its tokens is the
likeliest after those before it. With f32 and --exact both sides compute in 32 bits. With f16 llama.cpp rounds what goes into
each matrix product to 16 bits, whatever else is chosen, and with --rounded so does our model: where an answer differs, the
gap of the two tokens' log-probabilities in fp32 says whether rounding decided (a near tie) or something is wrong.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from llmdemo.decoding.engine import end_tokens
from llmdemo.serving.export_worker import round_weights
from llmdemo.serving.gguf_write import write_gguf

SCRIPT = ROOT / "tests" / "serving" / "greedy.mjs"


def main() -> None:
    args = arguments()
    if args.summary:
        return summary(args.summary)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    round_weights(model, args.model, args.weights)
    if args.rounded:
        for each in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
            each.register_forward_pre_hook(lambda _, given: (given[0].half().float(),))
    ends = end_tokens(model)
    lines = args.questions.read_text(encoding="utf-8").splitlines()[args.first : args.first + args.count]
    turns = [[{"role": "user", "content": json.loads(line)["turns"][0]}] for line in lines]
    prompts = [tokenizer.apply_chat_template(each, add_generation_prompt=True, return_dict=False) for each in turns]
    texts = [tokenizer.apply_chat_template(each, add_generation_prompt=True, tokenize=False) for each in turns]
    theirs = by_llama_cpp(args, prompts, texts, ends)
    with open(args.out, "a", encoding="utf-8") as out:
        for place, prompt in enumerate(prompts):
            said = theirs["tokens"][place]
            found = {"question": args.first + place, "cut_alike": theirs["ids"][place] == prompt, "tokens": len(said)}
            found |= difference(model, prompt, said)
            print(json.dumps(found), file=out, flush=True)
            print(json.dumps(found), flush=True)


def by_llama_cpp(args, prompts: list[list[int]], texts: list[str], ends: list[int]) -> dict:
    """{"tokens": [[id]], "ids": [[id]]} as greedy.mjs prints it."""
    with tempfile.TemporaryDirectory() as folder:
        file, asked = Path(folder) / "model.gguf", Path(folder) / "asked.json"
        write_gguf(args.model, file, args.weights, "model")
        wanted = {"prompts": prompts, "texts": texts, "most": args.tokens, "ends": ends, "threads": args.threads}
        wanted["files"] = [{"file": str(file), "exact": args.exact}]
        asked.write_text(json.dumps(wanted))
        command = ["node", str(SCRIPT), str(asked)]
        done = subprocess.run(command, cwd=args.node, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])


def difference(model, prompt: list[int], said: list[int]) -> dict:
    """{"equal"}; where the answers part, also {"at": which token, "gap": of log-probabilities, "likelier": ours' own}."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1]  # (T, V)
    logprobs = torch.log_softmax(logits.double(), -1)
    for place, (row, theirs) in enumerate(zip(logprobs, said, strict=True)):
        ours = int(row.argmax())
        if ours != theirs:
            gap, first = float(row[ours] - row[theirs]), float(row[ours])
            return {"equal": False, "at": place, "gap": round(gap, 6), "likelier": round(first, 4)}
    return {"equal": True}


def summary(path: Path) -> None:
    rows = {row["question"]: row for row in map(json.loads, path.read_text().splitlines())}
    other = sorted((row for row in rows.values() if not row["equal"]), key=lambda row: -row.get("gap", 9))
    print(f"{len(rows) - len(other)} of {len(rows)} equal; {sum(row['tokens'] for row in rows.values()):,} tokens")
    print(f"prompts cut into the same tokens: {sum(row['cut_alike'] for row in rows.values())}")
    for row in other:
        print(f"question {row['question']}: differs at token {row.get('at')}, gap {row.get('gap')} nats")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--node", type=Path)
    for name, default in (("tokens", 64), ("first", 0), ("count", 80), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--weights", default="f16", choices=("f16", "f32"))
    for name in ("exact", "rounded"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gguf.jsonl"))
    parser.add_argument("--summary", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
