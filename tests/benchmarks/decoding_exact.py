"""Are greedy and beam search those of transformers' generate, token for token, on real questions in fp32?

    python tests/benchmarks/decoding_exact.py --model FOLDER --questions questions.jsonl [--tokens 64] [--beams 4]
        [--first 0] [--count 80] [--device cpu] [--out exact.json]

The questions file holds one JSON object a line with "turns" (its first is asked) or "prompt". For each question:
greedy and beam tokens against generate's, the beam's sequence score within 1e-4. Where tokens differ, the smallest
gap between two rivals up to there is shown: under 1e-4 it is a near tie, which rounding decides. Ends with code 1
if anything differs that is no near tie.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo.decoding import DecodeSettings, decode_lanes

NEAR = 1e-4


def main() -> int:
    args = arguments()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = (
        AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, use_safetensors=True)
        .eval()
        .to(args.device)
    )
    lines = Path(args.questions).read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in list(enumerate(lines))[args.first : args.first + args.count]:
        prompt = encode(tokenizer, json.loads(line))
        found.append({"question": number, "prompt_tokens": len(prompt), **compare(model, prompt, args)})
        print(json.dumps(found[-1]), flush=True)
    wrong = [entry for entry in found if not entry["good"]]
    near = [entry for entry in found if entry["good"] and not entry["same"]]
    print(
        f"{len(found)} questions, {len(found) - len(near) - len(wrong)} the same, {len(near)} near ties, {len(wrong)} wrong"
    )
    if args.out:
        Path(args.out).write_text(json.dumps({"arguments": vars(args), "questions": found}, indent=1))
    return 1 if wrong else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a causal model with tokenizer")
    parser.add_argument("--questions", required=True, help="JSON lines with turns or prompt")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out")
    return parser.parse_args()


def encode(tokenizer, question: dict) -> list[int]:
    text = question["turns"][0] if "turns" in question else question["prompt"]
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
    return tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"]


def compare(model, prompt: list[int], args) -> dict:
    settings = DecodeSettings.from_dict(
        {"lanes": ["greedy", "beam"], "num_beams": args.beams, "max_new_tokens": args.tokens}
    )
    started = time.perf_counter()
    steps = list(decode_lanes(model, prompt, settings))
    ours_seconds = time.perf_counter() - started
    ours = {name: result for step in steps for name, result in step.results.items()}
    started = time.perf_counter()
    greedy, _ = reference(model, prompt, args.tokens, {})
    beam, score = reference(model, prompt, args.tokens, {"num_beams": args.beams})
    entry = {"ours_seconds": round(ours_seconds, 2), "generate_seconds": round(time.perf_counter() - started, 2)}
    same_greedy, same_beam = ours["greedy"].token_ids == greedy, ours["beam"].token_ids == beam
    off = abs(ours["beam"].score - score)
    entry |= {"same": same_greedy and same_beam and off < NEAR, "score_off": off}
    good = True
    if not same_greedy:
        entry["greedy_differs_at"], entry["greedy_gap"] = at, gap = greedy_gap(steps, ours["greedy"].token_ids, greedy)
        good &= gap < NEAR
    if not same_beam:
        entry["beam_gap"] = gap = beam_gap(steps)
        good &= gap < NEAR
    elif off >= NEAR:
        good = False
    return {**entry, "good": good}


def reference(model, prompt, tokens, arguments) -> tuple[tuple[int, ...], float | None]:
    ids = torch.tensor([prompt], device=model.device)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        return_dict_in_generate=True,
        output_scores=True,
        **arguments,
    )
    row = out.sequences[0, len(prompt) :].tolist()
    eos = model.generation_config.eos_token_id
    eos = [eos] if isinstance(eos, int) else eos or []
    end = next((i + 1 for i, token in enumerate(row) if token in eos), len(row))
    scores = getattr(out, "sequences_scores", None)
    return tuple(row[:end]), None if scores is None else scores[0].item()


def greedy_gap(steps, ours, want) -> tuple[int, float]:
    """(where the texts part, how far the two likeliest tokens are apart there)."""
    at = next((i for i, (a, b) in enumerate(zip(ours, want, strict=False)) if a != b), min(len(ours), len(want)))
    top = steps[at].lanes["greedy"].top.logprobs
    return at, top[0] - top[1]


def beam_gap(steps) -> float:
    """The smallest difference between two candidates' scores where one more or less would have changed the beams."""
    gaps = [1.0]
    for step in steps:
        beam = step.lanes.get("beam")
        if beam is not None:
            scores = sorted((b.score for b in (*beam.live, *beam.finished, *beam.pruned)), reverse=True)
            gaps += [a - b for a, b in zip(scores, scores[1:], strict=False)]
    return min(gaps)


if __name__ == "__main__":
    sys.exit(main())
