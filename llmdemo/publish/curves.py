"""The curves of a run as a PNG: training loss and held-out loss by step. Knows figures, no run."""

import io
import math

from PIL import Image, ImageDraw

_SIZE, _EDGE = (960, 420), (70, 20, 20, 50)
_COLOURS = {"loss_smoothed": "#0072b2", "eval_loss": "#b86b00"}
_NAMES = {"loss_smoothed": "training loss", "eval_loss": "held-out loss"}


def draw_curves(curves: dict[str, dict[str, list]]) -> bytes:
    """A PNG of those of `curves` ({name: {step: [], value: []}}) that are losses; an empty frame without any."""
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    drawn = {name: _points(curves[name]) for name in _COLOURS if name in curves}
    drawn = {name: points for name, points in drawn.items() if points}
    everything = [point for points in drawn.values() for point in points] or [(0.0, 0.0), (1.0, 1.0)]
    low, high = _bounds([x for x, _ in everything]), _bounds([y for _, y in everything])
    _frame(pen, low, high)
    for name, points in drawn.items():
        places = [_place(x, y, low, high) for x, y in points]
        pen.line(places, fill=_COLOURS[name], width=3)
        for x, y in places if name == "eval_loss" else ():
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_COLOURS[name])
    for index, name in enumerate(drawn):
        pen.text((_EDGE[0] + 20 + index * 200, 6), _NAMES[name], fill=_COLOURS[name])
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _points(curve: dict[str, list]) -> list[tuple[float, float]]:
    pairs = zip(curve.get("step", []), curve.get("value", []), strict=False)
    return [(float(x), float(y)) for x, y in pairs if x is not None and y is not None and math.isfinite(y)]


def _bounds(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _place(x: float, y: float, low: tuple, high: tuple) -> tuple[float, float]:
    """Where a point stands in the picture, in pixels; `low` are the bounds of x, `high` those of y."""
    left, top, right, bottom = _EDGE[0], _EDGE[1], _SIZE[0] - _EDGE[2], _SIZE[1] - _EDGE[3]
    across = (x - low[0]) / (low[1] - low[0])
    up = (y - high[0]) / (high[1] - high[0])
    return left + across * (right - left), bottom - up * (bottom - top)


def _frame(pen: ImageDraw.ImageDraw, low: tuple, high: tuple) -> None:
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = high[0] + share * (high[1] - high[0])
        x = low[0] + share * (low[1] - low[0])
        left, height = _place(low[0], y, low, high)
        pen.line((left, height, _SIZE[0] - _EDGE[2], height), fill="#d9dee4")
        pen.text((8, height - 6), f"{y:.3g}", fill="#59636e")
        pen.text((_place(x, high[0], low, high)[0] - 10, _SIZE[1] - _EDGE[3] + 8), f"{x:,.0f}", fill="#59636e")
    pen.text((_SIZE[0] // 2, _SIZE[1] - 20), "step", fill="#59636e")
