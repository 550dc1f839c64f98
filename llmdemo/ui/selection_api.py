"""The named endpoints that select records and look for wrong labels, for scripts. Knows no widget. Registered by api.py."""

from collections.abc import Callable

from llmdemo.settings.selection import SelectionSpec
from llmdemo.ui.endpoints import takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    selection = services.selection

    @for_owners
    @takes(SelectionSpec)
    def select_records(dataset_id: str, recipe: dict) -> dict:
        """A new version with the records that the recipe selects and all that a run holds out; returns its dataset_id and info.

        With method "chosen", recipe["indices"] lists kept records from 0. Keys of recipe:
        """
        return selection.select(dataset_id, recipe).to_dict()

    @for_owners
    def race_selection(dataset_id: str, config: dict | None = None) -> dict:
        """Queues two runs with the same settings, on a selection and on all that it was selected from, which hold out the same
        records; returns run_ids. config: as for /start_run, without dataset_id."""
        return {"run_ids": selection.race(services.runs, dataset_id, config)}

    @for_owners
    def label_errors(dataset_id: str) -> dict:
        """Labels that may be wrong, by confident learning (arXiv 1911.00068) on out-of-fold probabilities of small models:
        labels, records, suspicious (how many), ranked [{index, place, row, label, suggested, own, other, text, suspicious}], the
        500 most suspicious first, joint (label by confident class)."""
        return selection.label_errors(dataset_id)

    @for_owners
    def mend_labels(dataset_id: str, changes: dict | None = None, drops: list[int] | None = None) -> dict:
        """A new version in which the records at these places have another label (changes {place: label}) or are gone (drops);
        places as /label_errors names them. Returns its dataset_id and info."""
        return selection.mend_labels(dataset_id, changes, drops).to_dict()

    @for_owners
    def telling_words(dataset_id: str) -> dict:
        """Which words tell the classes apart: terms [{term, label, records, chi2, mutual_information}] of the training part, and
        models [{features (chi2, svd, all), k, accuracy, f1}] of logistic regression with k of them on the held-out part."""
        return selection.telling_words(dataset_id)

    return [select_records, race_selection, label_errors, mend_labels, telling_words]
