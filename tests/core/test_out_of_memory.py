from llmdemo.core.out_of_memory import needed, smaller

GIB = 2**30
PREDICTED = {"runtime": GIB // 2, "weights": GIB // 2, "moments": GIB // 4, "activations": 2 * GIB, "logits": GIB // 8}
LEDGER = {"predicted": {**PREDICTED, "total": 3 * GIB}, "available": int(2.5 * GIB)}


def test_it_tells_what_the_run_needs_what_was_free_and_where_it_failed():
    said = needed(LEDGER, said="DefaultCPUAllocator: can't allocate memory: you tried to allocate 1073741824 bytes.")
    assert "needs about 3.00 GiB, most of it for activations (2.00 GiB); 2.50 GiB were free when it began." in said
    assert "asked for 1.00 GiB more" in said
    gpu = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which 5.12 MiB is free."
    assert "asked for 20.00 MiB more. The GPU has 79.11 GiB, 5.12 MiB of it free." in needed(None, said=gpu)
    assert needed(None, peak=3 * GIB, there=4 * GIB) == "It had taken 3.00 GiB. The machine has 4.00 GiB."


def test_a_run_of_several_processes_tells_what_all_need_and_what_each_does():
    assert "needs about 6.00 GiB in all its processes, 3.00 GiB in each, most" in needed({**LEDGER, "needed": 6 * GIB})
    assert "in all its processes" not in needed({**LEDGER, "needed": 3 * GIB})


def test_the_setting_that_frees_the_most_comes_first_with_its_value():
    config = {"batch_size": 64, "max_length": 512, "rank": 128, "method": "galore"}
    assert smaller(LEDGER, config).startswith("Lower the batch size (now 64), raising the batches per step")
    assert "maximum length (now 512 tokens)" in smaller(LEDGER, config)
    heavy = {"predicted": {**PREDICTED, "moments": 4 * GIB}}
    assert smaller(heavy, config).startswith("Lower the rank (now 128); or lower the batch size")
    assert smaller(heavy, {"method": "adamw"}).startswith("Choose GaLore or LoRA")
    large = {"predicted": {**PREDICTED, "weights": 9 * GIB}}
    assert smaller(large, config).startswith("Choose weight_bits 8, or a smaller model")
    for there in ({"weight_bits": 8}, {"task": "grpo"}, {"method": "lora"}):  # where it is chosen, or has no effect
        assert smaller(large, {**config, **there}).startswith("Choose a smaller model")


def test_nonsense_in_a_ledger_is_left_out():
    for ledger in (
        None,
        {},
        {"predicted": None},
        {"predicted": {"total": "x", "weights": True}},
        {"predicted": {"total": 1e300}},
    ):
        assert needed(ledger) == "" and "batch size" in smaller(ledger, None)
