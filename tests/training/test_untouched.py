"""The figures of the untouched model are computed once for the same files and rows, and again where anything differs."""

import os
from types import SimpleNamespace

import pytest
import torch

from llmdemo.core import store
from llmdemo.data import add_dataset, delete_dataset
from llmdemo.settings import Settings
from llmdemo.training.untouched import MOST_KEPT, Untouched, prune, untouched

FIGURES = {"loss": 1.0 / 3.0, "perplexity": 1.3956124250860895}
ANSWERS = [{"text": "four", "prompt": "2 + 2 =", "expected": "4"}]


class Counted:
    """An objective that counts what it is asked."""

    def __init__(self):
        self.asked = 0

    def evaluate(self, last):
        self.asked += 1
        return dict(FIGURES), 7

    def answers(self):
        yield from ANSWERS

    def observed(self):
        """What an objective tells besides is never kept: it is computed each time."""
        yield "known", {"asked": self.asked}


@pytest.fixture
def place(tmp_path, tools):
    """(home, run folder, model folder, config): what `untouched` looks at."""
    run, model = tmp_path / "run", tmp_path / "model"
    for folder in (run, model):
        folder.mkdir()
    for file in (run / "data.safetensors", run / "data.json", model / "model.safetensors"):
        file.write_text("as it was")
    return SimpleNamespace(home=store.Home(tmp_path), run=run, model=model, config=tools.make_config())


def judged(place, objective, **changes):
    from dataclasses import replace

    kept = untouched(place.home, place.run, place.model, replace(place.config, **changes), torch.device("cpu"))
    found, records, told = kept.judged(objective, last=False, asks=True)
    *answers, (kind, fields) = told
    assert (kind, fields["asked"]) == ("known", objective.asked)
    return found, records, [fields for kind, fields in answers if kind == "sample"]


def test_a_second_run_is_told_what_the_first_one_computed_bit_for_bit(place):
    objective = Counted()
    first = judged(place, objective)
    assert judged(place, objective, learning_rate=3e-3, rank=8, method="lora", max_steps=7) == first
    assert first == (FIGURES, 7, ANSWERS) and objective.asked == 1


@pytest.mark.parametrize("change", ["weights", "rows", "batch", "task", "damage"])
def test_what_the_figures_depend_on_has_them_computed_again(place, change):
    objective, changes = Counted(), {}
    judged(place, objective)
    if change == "weights":
        (place.model / "model.safetensors").write_text("as it became")
    elif change == "rows":
        (place.run / "data.safetensors").write_text("others")
    elif change == "damage":
        (file,) = place.home.untouched.rglob("*.json")
        file.write_text('{"figures": [], "records": 7, "answers": [], "seconds": 1}')
    else:
        changes = {"batch_size": 3} if change == "batch" else {"task": "classify"}
    assert judged(place, objective, **changes) == (FIGURES, 7, ANSWERS)
    assert objective.asked == 2


def test_an_evaluation_whose_answers_were_not_all_taken_is_not_kept(place):
    objective = Counted()
    kept = untouched(place.home, place.run, place.model, place.config, torch.device("cpu"))
    kept.judged(objective, last=False, asks=True)
    judged(place, objective)
    assert objective.asked == 2


def test_a_run_goes_on_where_nothing_can_be_kept(place):
    place.home.untouched.write_text("no folder")  # as on a disk that is full, the folder cannot be made
    assert judged(place, Counted()) == (FIGURES, 7, ANSWERS)


def test_several_processes_and_no_path_compute_them(place):
    objective = Counted()
    for _ in range(2):
        judged(place, objective, num_processes=2)
        Untouched().judged(objective, last=False, asks=False)
    assert objective.asked == 4 and not place.home.untouched.exists()


def test_the_files_that_were_used_last_are_kept(tmp_path):
    for number in range(MOST_KEPT + 3):
        file = tmp_path / f"set-{number % 2}" / f"{number}.json"
        file.parent.mkdir(exist_ok=True)
        file.touch()
        os.utime(file, (number, number))
    prune(tmp_path)
    assert not (tmp_path / "set-0" / "2.json").exists() and (tmp_path / "set-1" / "3.json").exists()


def test_texts_of_a_deleted_data_set_do_not_stay(tmp_path):
    home = store.Home(tmp_path / "home").prepare()
    source = tmp_path / "a.jsonl"
    source.write_text('{"prompt": "2 + 2 =", "completion": "4"}\n' * 3)
    dataset_id = add_dataset(home, Settings(home=home.root), source, "sums").dataset_id
    other = home.untouched / "another" / "1.json"
    for file in (home.untouched / dataset_id / "1.json", other):
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    delete_dataset(home, dataset_id)
    assert list(home.untouched.rglob("*.json")) == [other]
