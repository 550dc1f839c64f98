"""Exports as jobs: queued, written by a process of their own, with loss, Modelfile and commands beside the file."""

import zipfile

import pytest
from gguf import GGUFReader

from llmdemo import data
from llmdemo.core.errors import UserError
from llmdemo.evaluation import Evaluations
from llmdemo.jobs import Jobs
from llmdemo.models import catalog
from llmdemo.serving.export_worker import loss_of
from llmdemo.serving.exports import Exports
from tests.waiting import over


@pytest.fixture
def exports(home, settings, arena):
    jobs = Jobs(home, settings)
    yield Exports(jobs, Evaluations(jobs))
    jobs.close()


def test_an_export_that_measures_is_not_said_to_write(exports):
    export_id = exports.start("starter", "q8_0")
    status = exports.jobs.status(export_id)
    assert exports.shown(status)["stage"] == ""
    status["figures"]["progress"] = {"done": 2, "total": 3, "stage": "measuring"}
    assert [exports.shown(status)[key] for key in ("stage", "done", "total")] == ["measuring", 2, 3]


@pytest.mark.slow
def test_an_export_is_a_job_whose_folder_holds_all_that_is_needed(exports, tmp_path):
    status = over(exports, exports.start("starter", "q8_0"), 120, pause=0.1)
    assert status["state"] == "completed", status
    assert status["quantisation"] == "q8_0" and status["bytes"] > 10_000 and status["loss"] is None
    assert [one["export_id"] for one in exports.of_model("starter")] == [status["export_id"]]
    with zipfile.ZipFile(exports.packed(status["export_id"], tmp_path)) as archive:
        assert sorted(archive.namelist()) == sorted([status["file"], "Modelfile", "README.md"])
        assert archive.read("Modelfile").decode().splitlines()[0] == f"FROM ./{status['file']}"
        said = archive.read("README.md").decode()
        assert f"llama-server -m {status['file']} --jinja" in said and "ollama create" in said
        assert "almost equally likely" in said and "-ctk f32" not in said
        archive.extract(status["file"], tmp_path)
    assert GGUFReader(tmp_path / status["file"]).get_field("general.architecture") is not None


def test_an_unknown_model_or_quantisation_and_an_unfinished_export_are_refused(exports, tmp_path):
    with pytest.raises(UserError, match="q4_0"):
        exports.start("starter", "q2_k")
    with pytest.raises(UserError):
        exports.start("run-20200101-000000-abcdef")
    with pytest.raises(UserError):
        exports.packed("export-nonsense", tmp_path)


def test_the_loss_is_transformers_own_and_fewer_bits_cost_more(home, settings, arena, alpaca_file):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmdemo.data.encode import encode_chat
    from llmdemo.evaluation.heldout import example, held_out
    from llmdemo.settings.evaluation import Spec

    info = data.add_dataset(home, settings, alpaca_file, "sums")
    spec = {
        "dataset_id": info.dataset_id,
        "model_ids": ["starter"],
        "kind": "answers",
        "limit": 4,
        "eval_share": 0.2,
        "seed": 7,
    }
    entry = catalog.resolve(home, "starter")
    began: list[float] = []
    found = {bits: loss_of(home, entry, bits, spec, began.append) for bits in ("f16", "q8_0", "q4_0")}
    assert began == [0, 1] * 3
    model, tokenizer = AutoModelForCausalLM.from_pretrained(entry.path), AutoTokenizer.from_pretrained(entry.path)
    held = held_out(home, Spec.from_dict(spec))
    total = count = 0
    for index in held.indices:
        row = encode_chat(example(held.records, int(index)).messages, tokenizer, 512)
        labels = torch.tensor([row.labels])
        with torch.inference_mode():
            loss = model(input_ids=torch.tensor([row.input_ids]), labels=labels).loss
        number = int((labels[:, 1:] != -100).sum())
        total, count = total + float(loss) * number, count + number
    assert found["f16"]["before"] == pytest.approx(total / count, abs=1e-4) and found["f16"]["tokens"] == count
    off = {bits: abs(each["after"] - each["before"]) for bits, each in found.items()}
    assert off["f16"] < 1e-3 and off["f16"] <= off["q8_0"] < off["q4_0"]
