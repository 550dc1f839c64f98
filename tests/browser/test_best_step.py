"""A run that overfits, seen in a browser: the stretch is shaded and said, and the best step's weights are published."""

import json
import os
import re

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import expect

from tests.browser.steps import state_is, tab

pytestmark = pytest.mark.slow
SHOTS = os.environ.get("LLMDEMO_SHOTS")
"""A folder for pictures of what is tested."""
OVERFITS = {"rank": 8, "batch_size": 45, "max_steps": 80, "eval_steps": 8, "learning_rate": 1e-2, "schedule": "constant",
            "warmup_steps": 0, "update_proj_gap": 20, "precision": "fp32"}  # fmt: skip


def shoot(page, name: str) -> None:
    for width in (1280, 390):
        for scheme in ("light", "dark") if SHOTS else ():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(500)
            page.screenshot(path=f"{SHOTS}/{name}-{width}-{scheme}.png", full_page=True)


def test_where_a_run_overfits_is_shaded_and_the_best_step_is_published(tiny_app, open_page, tmp_path):
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n * 7919 % 997} {n * 31 % 89}"} for n in range(100)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    app = Client(tiny_app, verbose=False)
    data = app.predict(handle_file(str(tmp_path / "rows.json")), "rows", api_name="/add_dataset")
    run_id = app.predict({"dataset_id": data["dataset_id"], **OVERFITS}, api_name="/start_run")["run_id"]
    page = open_page(tiny_app)
    tab(page, "Train")
    state_is(page, "Completed", 150)
    status = app.predict(run_id, api_name="/run_status")
    assert 0 < status["best_step"] < 80 and status["eval_loss"] > status["best_eval_loss"]
    expect(page.locator("#run-state")).to_contain_text(f"The weights of step {status['best_step']},")
    said = page.locator("#run-overfits")
    expect(said).to_contain_text("overfitting")
    assert re.search(
        rf"From step {status['best_step']} to 80 .* rose from {status['best_eval_loss']:.2f}"[:40], said.inner_text()
    )
    last = page.locator(".plotbox").first.locator(".band").last.bounding_box()
    plot = page.locator(".plotbox").first.locator("svg.plot").bounding_box()
    begins = (last["x"] - plot["x"]) / plot["width"]
    assert abs(begins - status["best_step"] / 80) < 0.02, "the shade begins at the best step"
    assert abs(last["x"] + last["width"] - plot["x"] - plot["width"]) < 3
    shoot(page, "overfitting")
