"""What presets would take here: predicted from a config, by method, without a download."""

import pytest

from llmdemo import offered, prepare
from llmdemo.models import presets
from llmdemo.training import device as devices

SMALL, LARGE = "EleutherAI/pythia-70m", "Qwen/Qwen3-8B"


@pytest.fixture
def machine(monkeypatch):
    """A machine of 8 GB that multiplies at a fixed speed."""
    monkeypatch.setattr(devices, "available_bytes", lambda device: 8 * 10**9)
    monkeypatch.setattr("llmdemo.training.speed._measured", lambda device, dtype: 1e12)


@pytest.mark.slow
def test_a_small_preset_fits_and_a_large_one_is_told_by_how_much_not(home, machine):
    small = offered.costs(home, [], presets.preset(SMALL))
    large = offered.costs(home, [], presets.preset(LARGE))
    assert set(small) == set(large) == {"galore", "adamw", "lora"}
    for method in small:
        assert small[method]["fits"] and small[method]["short_by"] == 0 and small[method]["rough"]
        assert not large[method]["fits"]
        assert large[method]["short_by"] == large[method]["bytes"] - 8 * 10**9 > 0
        assert large[method]["seconds_low"] < large[method]["seconds"] < large[method]["seconds_high"]
    # AdamW keeps two fp32 moments of all weights beside them, GaLore those of a subspace.
    assert large["adamw"]["bytes"] - large["galore"]["bytes"] > 4 * presets.preset(LARGE).parameters


def test_the_forms_settings_count(home, machine):
    preset = presets.preset(SMALL)
    plain = offered.cost(home, [], preset, {"method": "galore"})
    more = offered.cost(home, [], preset, {"method": "galore", "batch_size": 32, "model_id": "starter"})
    assert more["bytes"] > plain["bytes"] and more["seconds"] > plain["seconds"]
    assert "rank" in offered.cost(home, [], preset, {"method": "galore", "rank": -1})["error"]


def test_a_prediction_for_all_methods_lays_each_out_once(home, machine, monkeypatch):
    from llmdemo.training import memory_estimate

    laid = []
    plain = memory_estimate.predict
    monkeypatch.setattr(memory_estimate, "predict", lambda *asked: laid.append(asked[1].method) or plain(*asked))
    prepare._predicted.cache_clear()
    offered.costs(home, [], presets.preset("EleutherAI/pythia-160m"))
    assert sorted(laid) == ["adamw", "galore", "lora"], "AdamW's figure, which all show, is counted once"


def test_a_fetched_preset_is_ready(home, tiny_model_folder):
    preset = presets.preset(SMALL)
    assert not offered.offer(home, preset)["ready"]
    folder = home.models / "hub--EleutherAI--pythia-70m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert offered.offer(home, preset)["ready"]
