"""A run's end: which step's weights are published, how they come into a model again, and what is said of it.

Knows the loop and the run's folder; publish.py writes what it is given.
"""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from llmdemo.core.sentences import percent, readable_size, say, together
from llmdemo.models.catalog import LAST_MODEL, ModelEntry
from llmdemo.settings.training import OWN_FIGURES, TrainConfig
from llmdemo.training import best as bests
from llmdemo.training import device as devices
from llmdemo.training import objectives
from llmdemo.training.batches import RunData
from llmdemo.training.layers import attach_layers
from llmdemo.training.loop import Loop
from llmdemo.training.narrow import Losses
from llmdemo.training.publish import publish, written_before

_ROOM = 3
"""Memory that a second model is sure to have room in, as a multiple of its weights: activations of an evaluation as well."""


@dataclass(frozen=True)
class Chosen:
    """The step whose weights are published, beside the last one."""

    step: int
    figures: dict[str, float]
    last_step: int
    last_figures: dict[str, float]
    """Both evaluations' figures, of the same records where the steps differ."""
    message: str = ""

    @property
    def is_last(self) -> bool:
        return self.step == self.last_step

    def to_dict(self) -> dict:
        """For the event and origin.json."""
        last = self.last_figures.get("loss")
        return {"step": self.step, "last_step": self.last_step, "last_loss": last}


def choose(run_dir: Path, loop: Loop) -> Chosen:
    """As best_by says; the last step where nothing better is known or kept, which is then said."""
    progress, best, config = loop.progress, loop.best, loop.config
    last = Chosen(progress.step, progress.last_eval, progress.step, progress.last_eval)
    if config.best_by == "last":
        return last
    if best is None:
        return replace(last, message=say("note_none_best") if loop.objective.judged(last=True) else "")
    if best.step == progress.step:
        return replace(last, message=say("note_best_is_last", step=best.step, figures=_told(best.figures, config)))
    there = bests.kept(run_dir) if best.step else best
    if there is None or there.step != best.step or (best.step and not bests.fits(run_dir, loop.model)):
        return replace(last, message=say("note_best_lost", step=best.step))
    now = progress.last_compared
    known = {
        "best": _told(best.figures, config),
        "last": progress.step,
        "figures": _told(now, config) if now else say("no_finite_loss"),
    }
    message = say("note_best", step=best.step, **known) if best.step else say("note_best_before", **known)
    return Chosen(best.step, best.figures, progress.step, now, message)


def _told(figures: dict[str, float], config: TrainConfig) -> str:
    own = OWN_FIGURES.get(config.task, "")
    loss = f"{figures['loss']:.5g}"
    if config.best_by == "figure" and own in figures:
        return say(f"figures_{own}", figure=f"{figures[own]:.4g}", loss=loss)
    if config.task == "grpo":  # as the run's page tells it: its loss is 1 − reward
        return say("figures_reward", reward=percent(1 - figures["loss"], 1))
    return say("figures_loss", loss=loss)


def publish_chosen(
    run_dir: Path,
    scratch: Path,
    loop: Loop,
    entry: ModelEntry,
    tokenizer,
    data: RunData,
    config: TrainConfig,
    about: dict,
    fresh: Callable[[], torch.nn.Module],
    report: Callable,
    kept: Callable[[], None],
) -> None:
    """Writes model/ from the weights that are chosen, and model-last/ from the last ones where that is asked for.

    config: as the run computed, with its precision; about: rows of the card; fresh(): the model as it was before the first
    step, which is asked for only after the trained one has given its memory back; kept(): waits for the last step's
    checkpoint, which is written meanwhile and holds the weights' memory until then. No model is whole before it is. Nothing
    of `loop` trains after this.
    """
    if (run_dir / "model").is_dir():  # an earlier attempt at the end came so far
        written, weights = written_before(run_dir / "model")
        report("published", **{**written.to_dict(), **weights})
        return bests.drop(run_dir)
    chosen, items = choose(run_dir, loop), loop.first_items()
    if chosen.message:
        report("note", message=chosen.message)
    about = about | _rows(chosen, loop.progress.first_eval)
    model, let_go = loop.model, loop.let_go
    if not chosen.is_last:
        if config.keep_last:
            _publish_last(run_dir, scratch, loop, tokenizer, entry, config, about, chosen, kept)
        _wait_for_room(loop, kept)
        loop.let_go()
        model = fresh()
        if chosen.step:
            bests.load_into(run_dir, model)

        def let_go():
            devices.release(model)

    def before():
        if chosen.is_last:
            _wait_for_room(loop, kept)
        let_go()

    judge = judge_of(
        run_dir, entry, tokenizer, data, config, loop.precision, loop.device, items, before, last=chosen.is_last
    )
    losses = Losses(loop.progress.first_eval_loss, chosen.figures.get("loss"))
    found = chosen.to_dict()
    where = {"weights": found, "kept": kept, "device": loop.device}
    written = publish(run_dir, scratch, model, tokenizer, entry, config, about, losses, judge, **where)
    report("published", **written.to_dict(), **chosen.to_dict())
    if written.message:
        report("note", message=written.message)
    bests.drop(run_dir)


def _publish_last(
    run_dir: Path, scratch: Path, loop: Loop, tokenizer, entry, config, about: dict, chosen: Chosen, kept: Callable
) -> None:
    """Writes the last step's weights; without a measure of what fewer bits would lose, so in no fewer unless asked."""
    if config.publish_dtype == "auto" and loop.model.dtype == torch.float32:
        config = replace(config, publish_dtype="float32")
    about = about | {"published step": f"{chosen.last_step} (the last; the best is {chosen.step})"}
    weights = chosen.to_dict() | {"step": chosen.last_step}
    publish(
        *(run_dir, scratch, loop.model, tokenizer, entry, config, about, Losses(), lambda _: None),
        name=LAST_MODEL,
        weights=weights,
        kept=kept,
        device=loop.device,
    )


def _wait_for_room(loop: Loop, kept: Callable[[], None]) -> None:
    """Waits for the checkpoint where the device has no memory for a second model beside the one that is written there."""
    size = sum(p.numel() * p.element_size() for p in loop.model.parameters())
    if devices.available_bytes(loop.device) < _ROOM * size:
        kept()


def _rows(chosen: Chosen, first: dict[str, float]) -> dict:
    """Rows of the card: the published step's held-out figures, and those of the last step where that is another."""
    rows: dict[str, float] = {"published step": chosen.step}
    whens = [("before", first), ("after", chosen.figures)]
    if not chosen.is_last:
        rows["last step"] = chosen.last_step
        whens.append(("at the last step, which is not published", chosen.last_figures))
    for name in chosen.figures or chosen.last_figures:
        rows |= {
            f"held-out {name.replace('_', ' ')} {when}": round(figures[name], 5)
            for when, figures in whens
            if name in figures
        }
    return rows


def adopt(run_dir: Path, loop: Loop) -> str:
    """Lets a run that goes on know the best evaluation of its earlier attempts; returns what people should know of it.

    What lies in the folder may be newer than the checkpoint: it was the best then, and it is the best until a later one is
    better. What a checkpoint tells of and the folder lacks is lost.
    """
    progress, best = loop.progress, loop.best
    keeps = loop.config.best_by != "last" and bests.has_evaluations_between(loop.config)
    there = bests.kept(run_dir) if keeps else None
    if there and there.step < loop.config.max_steps and bests.fits(run_dir, loop.model):
        if best is None or there.step > max(best.step, progress.step):
            loop.take_best(there)
            return ""
        if there.step == best.step:
            loop.tell_best()
            return ""
    needed = best is not None and 0 < best.step < loop.config.max_steps
    if (keeps and needed) or (best is None and progress.step and progress.last_eval):
        loop.take_best(None)
        return say("note_best_not_kept", step=progress.step)
    loop.tell_best()
    return ""


def told_before(loop: Loop, config: TrainConfig) -> list[str]:
    """What people should know before the first step of how the best step is found and what it takes on the disk."""
    if not loop.objective.judged(last=True):
        dead = [name for name in ("patience", "keep_last") if getattr(config, name)]
        more = say("note_without_effect", n=len(dead), names=dead) if dead else ""
        return [together(say("note_no_best"), more)]
    notes: list[str] = []
    if config.keep_last and config.best_by == "last":
        notes.append(say("note_keep_last"))
    if not bests.has_evaluations_between(config):
        if config.best_by != "last":
            notes.append(say("note_no_between"))
        if config.patience:
            notes.append(say("note_patience"))
    elif config.best_by != "last":
        needed = readable_size(bests.bytes_of(loop.model))
        notes.append(say("note_best_weights", size=needed, eval_steps=config.eval_steps))
    return notes


def ended_early(loop: Loop) -> str:
    """Why the run ended before its last step; "" where it did not."""
    progress, best = loop.progress, loop.best
    if loop.ended:
        return loop.ended
    if progress.step >= loop.config.max_steps or not loop.out_of_patience or best is None:
        return ""
    return say(
        "note_ended_early",
        step=progress.step,
        max_steps=loop.config.max_steps,
        since_best=progress.since_best,
        best=best.step,
        patience=loop.config.patience,
    )


def judge_of(
    run_dir: Path,
    entry: ModelEntry,
    tokenizer,
    data: RunData,
    config: TrainConfig,
    precision: str,
    device: torch.device,
    items,
    before: Callable[[], None],
    last: bool = True,
) -> Callable[[Path], float | None]:
    """A function that gives the held-out loss of the model in a folder, or None where it is not a number.

    items: a few training items, on which the objective verifies its short ways. `before()` is called first, so that the
    trained model can give back its memory. last: whether to judge all that the run's last evaluation does, or only what is
    judged on the way, as the weights' own loss was.
    """

    def judge(folder: Path) -> float | None:
        before()
        kind = objectives.of(config.task)
        model = kind.load(replace(entry, path=folder), config, data, devices.weight_dtype(precision), device).eval()
        attach_layers(model)
        objective = kind(objectives.Place(model, tokenizer, config, precision, device), data)
        objective.verify(items)
        objective.begin(run_dir, items, lambda *_, **__: None, lambda: False)
        with torch.no_grad():
            model.eval()
            loss = objective.evaluate(last=last)[0].get("loss")
        del objective, model
        gc.collect()
        return loss if loss is not None and math.isfinite(loss) else None

    return judge
