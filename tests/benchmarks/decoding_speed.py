"""All four lanes in lock step against four sequential generate calls of transformers, on a CPU or a CUDA GPU.

    python tests/benchmarks/decoding_speed.py --model FOLDER [--tokens 64] [--repeats 3] [--out speed.json]
    python tests/benchmarks/decoding_speed.py --random-config 135M --device cuda --tokens 128 --prompt-tokens 256

Peers (greedy, top-k 50, top-p 0.9, beam 4) and ours run interleaved, end tokens off so that every text has
--tokens tokens; medians are shown. Further sections: tokens equal generate's in fp32, a captured GPU step equals the
uncaptured one, one step against the time to read the weights once, the share of a run that is not the forward, and
int8's error. A section that fails prints its error and the others go on.
"""

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo.core.heap import keep_freed
from llmdemo.decoding import DecodeSettings, decode_lanes
from llmdemo.decoding.backend import difference, forward_for, fused_weights
from llmdemo.decoding.graphs import GraphRun, StaticForward, kernels_for
from llmdemo.decoding.past import ModelForward
from llmdemo.decoding.run import Run
from llmdemo.models import load as _attention_as_in_the_app  # noqa: F401

CONFIGS = {
    "tiny": dict(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    ),
    "135M": dict(
        hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3
    ),
    "1.7B": dict(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32, num_key_value_heads=32
    ),
}
PEERS = {
    "greedy": dict(do_sample=False),
    "top_k": dict(do_sample=True, top_k=50),
    "top_p": dict(do_sample=True, top_p=0.9, top_k=0),
    "beam": dict(do_sample=False, num_beams=4),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
found = {}


def note(section: str, key: str, value) -> None:
    found.setdefault(section, {})[key] = value
    print(f"{section:>10} {key:<34} {value}", flush=True)


def section(name: str, work, *args) -> None:
    """Runs one part; an error is printed and noted, and the others go on."""
    try:
        work(name, *args)
    except Exception as error:  # a benchmark must go on: whatever the device refuses is a result too
        traceback.print_exc()
        note(name, "error", repr(error)[:500])
    if args_.out:
        Path(args_.out).write_text(json.dumps(found, indent=1))
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a causal model")
    parser.add_argument("--random-config", choices=CONFIGS, help="random weights of this shape instead of a model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="*", default=["fp32", "bf16"], choices=DTYPES)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt-tokens", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-peers", action="store_true", help="only time ours")
    parser.add_argument("--int8", action="store_true", help="also the int8 weights (CPU)")
    parser.add_argument(
        "--skip", nargs="*", default=[], choices=("exact", "graph", "speed"), help="leave these sections out"
    )
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: CPU time, for a busy machine and one thread"
    )
    parser.add_argument("--out")
    return parser.parse_args()


def load(dtype: torch.dtype):
    if args_.model:
        model = AutoModelForCausalLM.from_pretrained(args_.model, dtype=dtype, use_safetensors=True)
    else:
        torch.manual_seed(0)
        with torch.device(args_.device):  # a CPU takes half a minute for 1.7B
            model = LlamaForCausalLM(
                LlamaConfig(vocab_size=49152, tie_word_embeddings=True, **CONFIGS[args_.random_config])
            )
        model = model.to(torch.bfloat16)  # as nearly all models are saved, which decides how a CPU keeps them
    model = model.to(args_.device, dtype).eval()
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    return model


def prompt_ids(model) -> list[int]:
    """A real beginning where there is a tokenizer, else random tokens; --prompt-tokens long."""
    if args_.model:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args_.model)
        text = "Compose an engaging travel blog post about a recent trip to Hawaii, with cultural experiences. " * 40
        ids = tokenizer(text)["input_ids"]
        if len(ids) >= args_.prompt_tokens:
            return ids[: args_.prompt_tokens]
    generator = torch.Generator().manual_seed(1)
    return torch.randint(10, model.config.vocab_size, (args_.prompt_tokens,), generator=generator).tolist()


def wait() -> None:
    if args_.device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(work) -> float:
    clock = time.process_time if args_.clock == "cpu" else time.perf_counter
    wait()
    started = clock()
    work()
    wait()
    return clock() - started


def ours(model, prompt, tokens=None, **settings) -> list:
    values = {"max_new_tokens": tokens or args_.tokens, **settings}
    return list(decode_lanes(model, prompt, DecodeSettings.from_dict(values), eos_token_ids=[]))


def peer(model, prompt, tokens, values):
    ids = torch.tensor([prompt], device=args_.device)
    return model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, **values
    )


def speed(name: str, precision: str, extra: dict) -> None:
    """Peers and ours interleaved; the ratios that the bars are about."""
    model = load(DTYPES[precision])
    prompt = prompt_ids(model)
    first = timed(lambda: ours(model, prompt, 8, **extra))
    note(name, "forward", type(forward_for(model, extra.get("precision", "auto"))).__name__)
    note(name, "first_call_8_tokens_s", round(first, 3))
    works = {"ours": lambda: ours(model, prompt, **extra)}
    works["ours_beam_only"] = lambda: ours(model, prompt, lanes=["beam"], **extra)
    works["ours_greedy_only"] = lambda: ours(model, prompt, lanes=["greedy"], **extra)
    if not args_.skip_peers:
        for lane, values in PEERS.items():
            works[f"generate_{lane}"] = lambda values=values: peer(model, prompt, args_.tokens, values)
            peer(model, prompt, 4, values)
    times = {key: [] for key in works}
    for _ in range(args_.repeats):
        for key, work in works.items():
            times[key].append(timed(work))
    medians = {key: statistics.median(values) for key, values in times.items()}
    for key, value in medians.items():
        note(name, f"{key}_s", round(value, 3))
    steps = ours(model, prompt, **extra)
    note(name, "time_to_first_token_s", round(steps[0].seconds, 4))
    note(name, "ours_per_step_ms", round(1000 * (steps[-1].seconds - steps[0].seconds) / max(len(steps) - 1, 1), 3))
    if not args_.skip_peers:
        single = [medians[f"generate_{lane}"] for lane in PEERS]
        note(name, "generate_sum_s", round(sum(single), 3))
        note(name, "ratio_to_sum", round(medians["ours"] / sum(single), 4))
        note(name, "ratio_to_slowest", round(medians["ours"] / max(single), 3))
    shares(name, model, prompt, medians["ours"], extra)
    reading(name, model, steps)


def shares(name: str, model, prompt, whole: float, extra: dict) -> None:
    """What the forwards alone take of a run."""
    forward = forward_for(model, extra.get("precision", "auto"))
    rows = DecodeSettings().rows
    if isinstance(forward, StaticForward):
        return  # the captured step is one piece

    def only_forwards():
        with torch.inference_mode():
            forward.prefill(prompt, rows, args_.tokens)
            tokens = torch.zeros(rows, dtype=torch.int64, device=args_.device)
            parents = torch.arange(rows, device=args_.device)
            for _ in range(args_.tokens - 1):
                forward.step(tokens, parents)

    alone = statistics.median(timed(only_forwards) for _ in range(args_.repeats))
    note(name, "forwards_alone_s", round(alone, 3))
    note(name, "all_else_share", round((whole - alone) / whole, 3))


def reading(name: str, model, steps) -> None:
    """One step against the time to read the weights once, at the bandwidth that a plain sum reaches."""
    count = 2**28 if args_.device.startswith("cuda") else 2**26
    data = torch.ones(count, dtype=torch.float32, device=args_.device)
    data.sum()
    bandwidth = data.numel() * 4 / min(timed(lambda: data.sum()) for _ in range(7))
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    once = size / bandwidth
    step = (steps[-1].seconds - steps[0].seconds) / max(len(steps) - 1, 1)
    note(name, "bandwidth_GB_s", round(bandwidth / 1e9, 1))
    note(name, "read_weights_once_ms", round(1000 * once, 3))
    note(name, "step_over_read", round(step / once, 2))


def exact(name: str) -> None:
    """Greedy and beam tokens against generate's in fp32."""
    if args_.device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = False
    model = load(torch.float32)
    prompt = prompt_ids(model)
    texts = {lane: result.token_ids for step in ours(model, prompt) for lane, result in step.results.items()}
    for lane in ("greedy", "beam"):
        want = tuple(peer(model, prompt, args_.tokens, PEERS[lane])[0, len(prompt) :].tolist())
        same = sum(a == b for a, b in zip(texts[lane], want, strict=False))
        note(name, f"{lane}_equals_generate", texts[lane] == want)
        note(name, f"{lane}_tokens_equal", f"{same} of {len(want)}")
    note(name, "fused_logits_relative_error", fused_error(model))


def fused_error(model, precision: str = "auto") -> float | None:
    weights = fused_weights(model, precision)
    if weights is None:
        return None
    with torch.inference_mode():
        return difference(model, weights)


def captured(name: str, precision: str) -> None:
    """On a GPU: replayed steps against the uncaptured static step, against the plain fused loop, and their times."""
    model = load(DTYPES[precision])
    prompt = prompt_ids(model)
    weights = fused_weights(model)
    note(name, "kernels_compiled_and_tried_s", round(timed(lambda: kernels_for(weights)), 2))
    note(name, "fused_logits_relative_error", fused_error(model))
    settings = DecodeSettings.from_dict({"max_new_tokens": args_.tokens})
    from llmdemo.decoding.fused_llama import FusedLlamaForward

    def texts(kind, forward, **how):
        run = kind(forward, prompt, settings, args_.tokens, [], time.perf_counter(), **how)
        return {lane: r.token_ids for step in run.steps() for lane, r in step.results.items()}, run

    ways = {
        "captured": lambda: texts(GraphRun, StaticForward(weights, kernels_for(weights)), capture=True),
        "captured_by_torch": lambda: texts(GraphRun, StaticForward(weights), capture=True),
        "uncaptured": lambda: texts(GraphRun, StaticForward(weights, kernels_for(weights)), capture=False),
        "plain_fused": lambda: texts(Run, FusedLlamaForward(weights)),
        "models_own": lambda: texts(Run, ModelForward(model)),
    }
    results = {}
    for key, work in ways.items():
        try:
            results[key], run = work()
            repeats = args_.repeats if key == "captured" else 1
            note(name, f"{key}_s", round(statistics.median(timed(work) for _ in range(repeats)), 4))
            if key.startswith("captured"):
                note(name, f"{key}_was_captured", run.graph is not None)
                note(name, f"{key}_step_ms", round(1000 * replay_seconds(run), 3))
        except Exception as error:  # as in section
            traceback.print_exc()
            note(name, f"{key}_error", repr(error)[:500])
    for key in list(results)[1:]:
        same = (
            {lane: results[key][lane] == results["captured"][lane] for lane in results[key]}
            if "captured" in results
            else {}
        )
        note(name, f"captured_equals_{key}", same)


def replay_seconds(run) -> float:
    """Seconds of one captured step on the GPU alone, without the host: 20 replays back to back."""
    with torch.inference_mode():
        run.t.fill_(1)
        run.forward.place.fill_(run.forward.position)
        run.forward.nodes.copy_(torch.arange(run.total_rows, device=args_.device))

        def twenty():
            for _ in range(20):
                run.graph.replay()

        return timed(twenty) / 20 if args_.tokens > 22 else float("nan")


def int8_error(name: str) -> None:
    """What int8 changes: logits, and the tokens of greedy and beam."""
    model = load(torch.float32)
    prompt = prompt_ids(model)
    note(name, "logits_relative_error", fused_error(model, "int8"))
    a, b = (
        {k: r.token_ids for s in ours(model, prompt, precision=p) for k, r in s.results.items()}
        for p in ("fp32", "int8")
    )
    for lane in a:
        same = next((i for i, (x, y) in enumerate(zip(a[lane], b[lane], strict=False)) if x != y), len(a[lane]))
        note(name, f"{lane}_same_for_tokens", same)


if __name__ == "__main__":
    args_ = parse()
    if not (args_.model or args_.random_config):
        sys.exit("give --model FOLDER or --random-config")
    keep_freed()  # as the app
    note("machine", "torch", torch.__version__)
    note("machine", "transformers", transformers.__version__)
    note("machine", "threads", torch.get_num_threads())
    note("machine", "device", torch.cuda.get_device_name() if args_.device.startswith("cuda") else "cpu")
    note("machine", "arguments", " ".join(sys.argv[1:]))
    if args_.device.startswith("cuda") and "graph" not in args_.skip:
        for chosen in args_.precisions:
            section(f"graph_{chosen}", captured, chosen)
    if "exact" not in args_.skip:
        section("exact", exact)
    for chosen in args_.precisions if "speed" not in args_.skip else ():
        section(chosen, speed, chosen, {})
    if args_.int8:
        section("int8", speed, "fp32", {"precision": "int8"})
        section("int8_error", int8_error)
