"""Which records of a data set are held out, and in which order they are asked: decided by a seed alone.

One place for training, evaluation and the page, so that all of them speak of the same records. Knows no tokens, no
models and no files.
"""

import numpy as np

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say
from llmdemo.data.labels import spelling
from llmdemo.data.records import Records
from llmdemo.settings.training import SPLIT_VERSION

_LARGEST_ALONE = 0.25
"""Share of all records up to which a single group is held out where groups are too large for the share asked for."""


def split(
    records: Records, seed: int, eval_share: float, fold: int = 0, folds: int = 0, version: int = SPLIT_VERSION
) -> tuple[np.ndarray, np.ndarray]:
    """(train, eval) indices, int64, each sorted.

    With `folds` (at least 2), all records are dealt into that many parts by `seed` and part `fold` is held out: K-fold
    cross-validation, which heeds neither the share nor a fixed split. Else, if the data fixes a split, that is it.
    Otherwise about `eval_share` of the records (0 ≤ share < 1) are drawn by `seed`, label by label for classification,
    and there each label with two different records stands on both sides where that can be; in the other tasks of each
    kind in its share, where the data tells kinds. Records with the same or nearly the same instruction never stand on
    both sides. At least one record is left to train on. Raises UserError
    for a share out of range.
    """
    if not 0 <= eval_share < 1:
        raise UserError("err_eval_share", eval_share=eval_share)
    if folds:
        held = parts(records, seed, folds) == fold
        return np.flatnonzero(~held), np.flatnonzero(held)
    fixed = np.array([part == "eval" for part in records.splits()], bool)
    if fixed.any() and not fixed.all():
        return np.flatnonzero(~fixed), np.flatnonzero(fixed)
    group = np.unique(records.groups, return_inverse=True)[1]
    kinds = _kinds(records)
    if kinds is None or version == 1:
        held = _draw(_strata(records, version), group, seed, eval_share, version)
    else:
        held = _draw_by_kind(kinds, group, seed, eval_share)
    if held.all() and len(held):
        held[group == group[0]] = False
    return np.flatnonzero(~held), np.flatnonzero(held)


def in_order(records: Records, held: np.ndarray, seed: int) -> np.ndarray:
    """The held-out indices (of `split`) in the order in which they are asked: a larger limit only adds to a smaller one's.

    A draw by `seed` in which any beginning has the mix of labels, or of kinds, of the whole: neither the file's order nor its
    beginning says which records a loss is of.
    """
    kinds = _kinds(records)
    strata = _strata(records, SPLIT_VERSION) if kinds is None else kinds
    strata = np.unique(strata[held], return_inverse=True)[1]
    generator = np.random.default_rng([seed, 2])
    place = np.zeros(len(held))
    for stratum in range(int(strata.max(initial=-1)) + 1):
        members = np.flatnonzero(strata == stratum)
        members = members[generator.permutation(len(members))]
        # evenly over the whole order, from a beginning that is drawn too
        place[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return held[np.argsort(place, kind="stable")]


def parts(records: Records, seed: int, folds: int) -> np.ndarray:
    """int64 (N,): the part, 0 … folds - 1, of each record for K-fold cross-validation.

    Parts are alike in size and in their mix of labels, or of kinds; records with the same or nearly the same instruction share one.
    Raises UserError when there are fewer groups of records than parts.
    """
    kinds, group = _kinds(records), np.unique(records.groups, return_inverse=True)[1]
    strata = _strata(records, 1) if kinds is None else kinds
    _, first = np.unique(group, return_index=True)
    if not 2 <= folds <= len(first):
        raise UserError("err_too_few_for_folds", n=len(first), folds=folds)
    sizes = np.bincount(group, minlength=len(first))
    generator = np.random.default_rng(seed)
    part_of, whole = np.zeros(len(first), np.int64), np.zeros(folds, np.int64)
    for stratum in range(int(strata.max(initial=-1)) + 1):
        members = np.flatnonzero(strata[first] == stratum)
        filled = np.zeros(folds, np.int64)
        for member in members[generator.permutation(len(members))]:
            part = int(np.lexsort((whole, filled))[0])  # the emptiest for this label, then the emptiest of all
            part_of[member] = part
            filled[part] += sizes[member]
            whole[part] += sizes[member]
    return part_of[group]


def why_none(records: Records, eval_share: float) -> str:
    """A sentence that says why `split` holds nothing out of these records."""
    count, groups = len(records), len(np.unique(records.groups))
    if not eval_share:
        return say("note_eval_share_0")
    if groups == 1 and count > 1:
        why = say("why_all_same", count=count)
    elif groups < count:
        why = say("why_too_few", count=count, groups=groups)
    else:
        why = say("why_only", n=count)
    return say("note_nothing_held_out", why=why)


# ---- inside


def _kinds(records: Records) -> np.ndarray | None:
    """int64 (N,): a number for each kind that the data tells; None where it tells none, or too many."""
    kinds, names = records.kinds()
    return kinds if names else None


def _strata(records: Records, version: int) -> np.ndarray:
    """int64 (N,): a number for each class; all 0 where records have none."""
    labels = records.labels()
    if not labels:
        return np.zeros(len(records), np.int64)
    # Spellings of one class are one stratum; the first version took each for a class of its own.
    return np.unique(labels if version == 1 else [spelling(label) for label in labels], return_inverse=True)[1]


def _draw(strata: np.ndarray, group: np.ndarray, seed: int, eval_share: float, version: int) -> np.ndarray:
    """bool (N,): what is held out. A group goes with the label of its first record; whole groups are drawn."""
    generator = np.random.default_rng(seed)
    held = np.zeros(len(group), bool)
    _, first = np.unique(group, return_index=True)
    sizes = np.bincount(group, minlength=len(first))
    for stratum in range(int(strata.max(initial=-1)) + 1):
        members = np.flatnonzero(strata[first] == stratum)
        members = members[generator.permutation(len(members))]
        held |= _fitting(members, sizes, round(eval_share * sizes[members].sum()))[group]
    if version == 1 or not eval_share or not len(group):
        return held
    if strata.any():
        _both_sides(held, strata, group, generator)
    return held if held.any() else _smallest(group, sizes, generator)


def _draw_by_kind(kinds: np.ndarray, group: np.ndarray, seed: int, eval_share: float) -> np.ndarray:
    """bool (N,): whole groups, of each kind in its share, `eval_share` of the records in all.

    Systematic sampling of the records in order of their place in their own kind: of a kind with n records
    n · eval_share are held out, rounded up or down, also where that is less than one. A group counts as its first
    record's kind.
    """
    generator = np.random.default_rng(seed)
    if not eval_share or not len(group):
        return np.zeros(len(group), bool)
    _, first = np.unique(group, return_index=True)
    sizes, place = np.bincount(group, minlength=len(first)), np.zeros(len(first))
    for kind in np.unique(kinds[first]):
        members = np.flatnonzero(kinds[first] == kind)
        members = members[generator.permutation(len(members))]
        ends = np.cumsum(sizes[members])
        place[members] = (ends - sizes[members] * generator.random()) / ends[-1]
    held = _fitting(np.argsort(place, kind="stable"), sizes, round(eval_share * len(group)))[group]
    return held if held.any() else _smallest(group, sizes, generator)


def _fitting(order: np.ndarray, sizes: np.ndarray, room: int) -> np.ndarray:
    """bool (groups,): those that are taken, in this order, each where it still fits into `room` records."""
    taken = np.zeros(len(sizes), bool)
    for member in order:
        if sizes[member] <= room:
            taken[member] = True
            room -= sizes[member]
    return taken


def _smallest(group: np.ndarray, sizes: np.ndarray, generator) -> np.ndarray:
    """bool (N,): the smallest group, where it is no large part of all: better than to hold nothing out."""
    smallest = int(np.argmin(sizes + generator.random(len(sizes))))
    return (group == smallest) & (sizes[smallest] <= _LARGEST_ALONE * len(group))


def _both_sides(held: np.ndarray, strata: np.ndarray, group: np.ndarray, generator) -> None:
    """Moves whole groups so that each class stands on both sides of `held`, where no other class loses a side by it."""
    counts = np.bincount(strata)
    for stratum in np.argsort(counts, kind="stable"):
        for side in (True, False):
            here = strata == stratum
            if (held[here] == side).any():
                continue
            candidates, sizes = np.unique(group[here], return_counts=True)
            for candidate in candidates[np.argsort(sizes + generator.random(len(sizes)))]:
                after = np.where(group == candidate, side, held)
                classes = np.unique(strata[group == candidate])
                if all((after[strata == c] != side).any() for c in classes):
                    held[:] = after
                    break
