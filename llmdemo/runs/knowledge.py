"""What a run's events say of what the model knew before: right answers and loss by class, and what was lost and learned.

The events may come from anywhere, so each value is checked. Knows nothing of files or pages.
"""

from llmdemo.jobs.digest import number, text, whole
from llmdemo.knowledge.classes import CLASSES

_MOST_RECORDS, _MOST_TOLD = 1024, 512


class Knowledge:
    """The state of affairs after the events "asked" and "known" given to it."""

    def __init__(self) -> None:
        self._records: dict[int, dict] = {}
        self._told: list[dict] = []

    def ask(self, event: dict) -> None:
        """Which records are asked at each evaluation."""
        for each in _objects(event.get("records"))[:_MOST_RECORDS]:
            index = whole(each.get("index"))
            if index is not None and each.get("class") in CLASSES:
                about = {"index": index, "class": each["class"], "trained": each.get("trained") is True}
                said = {key: text(each.get(key), 200) for key in ("question", "expected")}
                self._records[index] = {**about, **said}

    def add(self, event: dict, seconds: float) -> None:
        """What an evaluation found."""
        step, right, wrong = number(event.get("step")), event.get("right"), event.get("wrong")
        if step is None or not isinstance(right, list) or not isinstance(wrong, list):
            return
        groups = [
            {"class": each["class"], "trained": each.get("trained") is True}
            | {key: whole(each.get(key)) or 0 for key in ("n", "right")}
            | {"loss": number(each.get("loss"))}
            for each in _objects(event.get("groups"))[: 2 * len(CLASSES)]
            if each.get("class") in CLASSES
        ]
        known = {index for index in map(whole, right[:_MOST_RECORDS]) if index is not None}
        pairs = [each for each in wrong[:_MOST_RECORDS] if isinstance(each, list) and len(each) == 2]
        answers = {index: text(said, 200) for index, said in ((whole(a), b) for a, b in pairs) if index is not None}
        self._told.append({"step": int(step), "seconds": seconds, "groups": groups, "right": known, "answers": answers})
        if len(self._told) > _MOST_TOLD:
            self._told = self._told[::2]  # of an odd number, so that the newest stays
        for earlier in self._told[:-1]:
            earlier["answers"] = {}  # the newest alone are shown

    def cut_after(self, step: float) -> None:
        """Forgets the evaluations after `step`: a run that resumes from there makes them again."""
        self._told = [each for each in self._told if each["step"] <= step]

    def result(self) -> dict:
        """{} where no probe is known; else records (how many), evaluations [{step, seconds, groups}], and by the newest of them
        lost and learned: records {index, class, trained, question, expected, answer, step}.

        lost: wrong now, and right at an earlier evaluation, the last of which is `step`, or known after every prompt before the
        run (step None). learned: right now, and weakly known or unknown before; `step`: since when it has been right throughout.
        """
        if not self._told or not self._records:
            return {}
        now = self._told[-1]
        lost, learned = [], []
        for index, record in sorted(self._records.items()):
            steps = [each["step"] for each in self._told if index in each["right"]]
            if index not in now["right"] and (steps or record["class"] == "highly"):
                lost.append({**record, "answer": now["answers"].get(index, ""), "step": steps[-1] if steps else None})
            if index in now["right"] and record["class"] in ("weakly", "unknown"):
                wrong = [place for place, each in enumerate(self._told) if index not in each["right"]]
                since = self._told[wrong[-1] + 1 if wrong else 0]["step"]
                learned.append({**record, "answer": record["expected"], "step": since})
        told = [{key: each[key] for key in ("step", "seconds", "groups")} for each in self._told]
        return {"records": len(self._records), "evaluations": told, "lost": lost, "learned": learned}


def _objects(value: object) -> list[dict]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
