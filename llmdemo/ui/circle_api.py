"""The named endpoints of the way back from requests to data, and of models on trial. JSON in, JSON out; knows no widget."""

from collections.abc import Callable
from typing import Any

from llmdemo.core.errors import UserError
from llmdemo.serving.review import make_dataset
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services

_PAGE = 20
_MOST_ANSWER = 100_000


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    return [*_requests(services), *_trials(services)]


def _requests(services: Services) -> list[Callable]:
    kept = services.serving.kept

    @for_owners
    def keep_texts(on: bool, most: int = 2000, days: int = 30) -> dict:
        """Keeps the texts of requests at /v1/ from now on, or no more: at most so many, for so many days, with secrets and
        e-mail addresses masked. What is kept already goes by these bounds. A request with store: false is never kept."""
        keeping = kept.keep(on is True, most, days)  # a script may send any text
        return {"on": keeping.on, "most": keeping.most, "days": keeping.days}

    @for_owners
    def forget_texts() -> dict:
        """Deletes all kept texts of requests. Thumbs and labels, which are figures, stay."""
        kept.forget()
        return {}

    @for_owners
    def kept_texts(name: str, state: str = "new", offset: int = 0) -> dict:
        """Kept requests of a served name, 20 at a time, the newest first: {texts, total, counts}.

        state: new (with a thumb or a correction, not reviewed), pairs (answered by a model on trial too, not compared), all,
        taken, left, done (part of a data set).
        """
        texts, total = kept.page(name, state, max(0, int(offset)), _PAGE)
        return {"texts": [text.to_dict() for text in texts], "total": total, "counts": kept.counts(name)}

    @for_owners
    def review_text(number: int, verdict: str = "", answer: str | None = None, better: str | None = None) -> dict:
        """Reviews one kept request, by its number: verdict take, leave or ""; answer: how it should have been; better: of
        a pair of answers now, beside or same. Returns the request."""
        return review(services, number, verdict, answer, better)

    @for_owners
    def feedback_dataset(name: str, task: str = "chat", dataset_id: str = "", title: str = "") -> dict:
        """The taken requests of a served name as a new version of a data set, or as a first one with this title.

        task: chat (answers to learn), preference (better and worse answers) or classify. Returns the data set.
        """
        return make_dataset(services.home, services.settings, kept, name, task, dataset_id, title).to_dict()

    return [keep_texts, forget_texts, kept_texts, review_text, feedback_dataset]


def review(services: Services, number: Any, verdict: Any, answer: Any, better: Any) -> dict:
    """Sets what an owner found of a kept request; it, as it is then. Raises UserError for values that are none."""
    if verdict not in ("", "take", "leave"):
        raise UserError("err_review_value", key="verdict", given=repr(str(verdict)[:40]), known=["take", "leave"])
    if better not in (None, "now", "beside", "same"):
        raise UserError("err_review_value", key="better", given=repr(str(better)[:40]), known=["now", "beside", "same"])
    values: dict[str, Any] = {"verdict": verdict}
    if answer is not None:
        if not isinstance(answer, str) or not answer.strip() or len(answer) > _MOST_ANSWER:
            raise UserError("err_empty_answer")
        values["correction"] = answer
    values |= {"better": better} if better is not None else {}
    if isinstance(number, bool) or not isinstance(number, int):
        raise UserError("err_kept_gone")
    return services.serving.kept.review(number, **values).to_dict()


def _trials(services: Services) -> list[Callable]:
    serving = services.serving

    @for_owners
    def begin_trial(name: str, model_id: str, mode: str = "share", share: float = 0.5) -> dict:
        """Puts a second model beside a served one. mode share: it answers this share of the requests (a caller who names a
        user gets the same model each time); shadow: it answers all of them a second time, unseen, while there is time."""
        return serving.begin_trial(name, model_id, mode, share).to_dict()

    @for_owners
    def trial_figures(name: str) -> dict:
        """The served model and the one on trial side by side: requests, latencies, length, thumbs and an owner's picks."""
        return serving.comparison(serving.registry.one(name), serving.figures()) or {}

    @for_owners
    def promote_trial(name: str) -> dict:
        """The model on trial takes the name; /roll_back brings the one before again."""
        return serving.promote(name).to_dict()

    @for_owners
    def end_trial(name: str) -> dict:
        """What is served goes on alone."""
        return serving.end_trial(name).to_dict()

    @for_owners
    def roll_back(name: str) -> dict:
        """The model that had the name before has it again; done twice, nothing has changed."""
        return serving.roll_back(name).to_dict()

    return [begin_trial, trial_figures, promote_trial, end_trial, roll_back]
