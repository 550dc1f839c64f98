"""The named endpoints that make data sets with a model, for scripts. JSON in, JSON out; knows no widget. Registered by api.py."""

from collections.abc import Callable

from llmdemo.settings.generation import GenerationSpec
from llmdemo.ui.endpoints import takes
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    return [_start(services), *_jobs(services), *_races(services)]


def _start(services: Services) -> Callable:
    generations = services.generations

    @for_owners
    @takes(GenerationSpec)
    def generate_dataset(
        model_id: str = "starter",
        kind: str = "magpie",
        number: int = 200,
        settings: dict | None = None,
        key: str = "",
        judge_key: str = "",
    ) -> dict:
        """Lets a model make a data set, in the background; returns job_id.

        kind: magpie, answers, pairs, paraphrases or questions (below). number: records to keep. key, judge_key: sent to the endpoints
        that write (settings["url"]) and judge, and kept nowhere. settings["judge"]: an object as in /evaluate, kind none, model,
        endpoint or reward; settings["checker"]: one as in /evaluate_decoding. Other keys of settings:
        """
        values = {**(settings or {}), "model_id": model_id, "kind": kind, "number": number}
        return {"job_id": generations.start(values, key, judge_key)}

    return generate_dataset


def _jobs(services: Services) -> list[Callable]:
    generations = services.generations

    @for_owners
    def generation_status(job_id: str) -> dict:
        """How the making of a data set is: state, message, hint, progress {kept, made, cut (answers that end with their last
        whole sentence), total, reasons (why records were left out), last (the newest record), eta_seconds}; dataset_id once it has ended or was stopped."""
        return generations.status(job_id)

    @for_owners
    def list_generations() -> list[dict]:
        """All data sets that models made or are making, the newest first, each with its job_id first."""
        return generations.list()

    @for_owners
    def stop_generation(job_id: str) -> dict:
        """Asks the making of a data set to stop; what was kept so far becomes a data set. Returns its status."""
        return generations.stop(job_id)

    @for_owners
    def resume_generation(job_id: str, key: str = "", judge_key: str = "") -> dict:
        """Lets a stopped or failed one go on where it was; the data set becomes a new version. Returns its status.

        Keys of endpoints have to be given again, as they are kept nowhere."""
        return generations.resume(job_id, key, judge_key)

    @for_owners
    def generation_records(job_id: str, reason: str | None = None, offset: int = 0, limit: int = 20) -> dict:
        """What was made, kept or left out: total and records, each with number, source (the place of its prompt), messages,
        answers (of a pair), reason, perplexity, judged (what judge or checker said) and drawn (model, temperature and seed of
        each text). reason: those left out for it, "" those that were kept; None: all. limit: 200 at most."""
        return generations.records(job_id, reason, offset, limit)

    @for_owners
    def delete_generation(job_id: str) -> dict:
        """Deletes the job and its log of all records, kept or not; the data set stays. Returns its job_id."""
        generations.delete(job_id)
        return {"job_id": job_id}

    return [
        generation_status,
        list_generations,
        stop_generation,
        resume_generation,
        generation_records,
        delete_generation,
    ]


def _races(services: Services) -> list[Callable]:
    races = services.data_races

    @for_owners
    def race_generated(dataset_id: str, people_id: str, number: int = 500, config: dict | None = None) -> dict:
        """Queues three runs with the same settings, on `number` records by people, as many made by a model, and half of each, all
        judged on the same held-out part of people's data; returns job_id and run_ids.

        dataset_id: a made data set; people_id: one that people wrote. config: as for /start_run, without dataset_id."""
        return races.start(dataset_id, people_id, number, config)

    @for_owners
    def generated_race_status(job_id: str) -> dict:
        """How such a race is: state, message, runs and, once it has ended, result: held_out and rows, one a part (before, people,
        made, both), each with loss (nats a token of the held-out answers, 95 % interval) and difference from people's, paired."""
        return races.status(job_id)

    @for_owners
    def list_generated_races() -> list[dict]:
        """All such races, the newest first, each with its job_id first."""
        return races.list()

    @for_owners
    def stop_generated_race(job_id: str) -> dict:
        """Stops the race and its runs. Returns its status."""
        return races.stop(job_id)

    return [race_generated, generated_race_status, list_generated_races, stop_generated_race]
