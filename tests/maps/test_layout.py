"""Places in the plane."""

import numpy as np
import pytest

from llmdemo.maps.layout import placed
from llmdemo.maps.neighbours import nearest, reduced


def planted():
    generator = np.random.default_rng(0)
    vectors = np.eye(10)[np.repeat([0, 1, 2], 30)] + 0.1 * generator.normal(size=(90, 10))
    parts = reduced(vectors, 0)
    return parts, *nearest(parts.vectors, 20)


@pytest.mark.slow
def test_neighbours_stay_neighbours_and_the_same_seed_gives_the_same_map():
    parts, found, cosines = planted()
    told = []
    places = placed(found, cosines, parts.plane, 0, told.append)
    assert places.shape == (90, 2) and np.isfinite(places).all() and told == sorted(told) and told[-1] == 1.0
    gaps = ((places[:, None] - places[None]) ** 2).sum(-1) + 1e9 * np.eye(90)
    near = gaps.argmin(1)
    assert (near // 30 == np.arange(90) // 30).mean() > 0.98
    assert np.array_equal(places, placed(found, cosines, parts.plane, 0))


def test_a_few_records_keep_their_places_in_the_plane():
    parts, found, cosines = planted()
    assert np.array_equal(placed(found[:5, :3], cosines[:5, :3], parts.plane[:5], 0), parts.plane[:5])


def test_what_is_told_can_end_the_work():
    parts, found, cosines = planted()

    def stop(share):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        placed(found, cosines, parts.plane, 0, stop)
