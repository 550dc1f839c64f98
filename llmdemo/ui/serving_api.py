"""The named endpoints of served models, for owners' scripts. JSON in, JSON out; knows no widget. Registered by api.py.

What served models answer to is below /v1/ (serving/routes.py), which needs a key and no page.
"""

from collections.abc import Callable

import gradio as gr

from llmdemo.ui import downloads
from llmdemo.ui.rights import for_owners
from llmdemo.ui.services import Services


def endpoints(services: Services) -> list[Callable]:
    """The functions, each named as its endpoint."""
    serving = services.serving

    @for_owners
    def serve_model(model_id: str, name: str = "", lane: str | dict | None = None) -> dict:
        """Serves a model at /v1/ (OpenAI's API) under a name, until /unserve_model, also after a restart of the app.

        lane: how it decodes unless a request says otherwise: a strategy ("greedy", "beam4", "top_p0.9") or an object
        {"strategy", and its settings}; greedy by default, none for a classifier. name: by default made of the id. What was
        served under the name is replaced. Who asks needs a key of /create_key. Returns name, model_id, lane, created.
        """
        return serving.serve(model_id, name, lane).to_dict()

    @for_owners
    def unserve_model(name: str) -> dict:
        """Stops serving what has this name; requests that have begun are answered to their end. Returns the name."""
        serving.unserve(name)
        return {"name": name}

    @for_owners
    def list_served() -> dict:
        """{served: [{name, model_id, lane, created, title, task, problem}], keys: [{key_id, name, models, …}]}"""
        return serving.overview()

    @for_owners
    def create_key(
        name: str = "", models: list[str] | None = None, requests_per_minute: int | None = None, monitor: bool = False
    ) -> dict:
        """Makes an API key for /v1/ and returns it in `key`: this once, as only its hash is kept. Also returns its key_id.

        models: names of served models that it opens; none or []: all of them. requests_per_minute: its limit.
        monitor: whether it also opens the figures at /metrics.
        """
        return serving.create_key(name, models or [], requests_per_minute, monitor)

    @for_owners
    def revoke_key(key_id: str) -> dict:
        """A key opens nothing from now on; returns what is known of it. Harmless when done again."""
        return serving.keys.revoke(key_id).to_dict()

    return [serve_model, unserve_model, list_served, create_key, revoke_key, _monitor(services), *_exports(services)]


def _monitor(services: Services) -> Callable:
    serving = services.serving

    @for_owners
    def monitor(since: float = 0.0) -> dict:
        """What happened at /v1/ since a time (seconds since 1970; 0: since the app's start, the last 20,000 requests).

        Returns models [{name, model_id, requests, outcomes, codes, prompt_tokens, tokens, waited, first, each {p50, p95, p99}
        in seconds}, drift {seen, reference, window, p, alarm_at}: the model's mean surprise at the first 100 prompts and the
        last 30, and after how many requests they were found to differ}, class_drift, confidence_drift of a classifier, training
        {surprise, languages, topics, classes, p} of the training data], over_time [{name ("arena": its comparisons), model_id,
        points [{at, seconds, requests, outcomes, tokens, first, each, queued, length, repetition, surprise, languages, topics,
        classes, confidence, up, down …}]}] from a file that outlives a restart, at most 120 points, running and queued: requests that are being answered now, and that wait.
        """
        slots = serving.slots
        return {
            "models": serving.figures(float(since)),
            "over_time": serving.monitor.over_time(float(since)),
            "running": slots.running,
            "queued": slots.queued,
        }

    return monitor


def _exports(services: Services) -> list[Callable]:
    exports = services.exports

    @for_owners
    def export_gguf(run_id: str, quantisation: str = "q8_0") -> dict:
        """Writes a finished run's model (or another model's, by its id) as GGUF, in the background; returns export_id.

        quantisation: f32, f16, q8_0 or q4_0. For models of the kinds llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3_text and
        phi3. Once /export_status says completed, the file lies in its folder with a Modelfile for Ollama and a README.
        """
        return {"export_id": exports.start(run_id, quantisation)}

    @for_owners
    def export_status(export_id: str) -> dict:
        """How an export is: state, done of total; once completed file, bytes and loss {before, after, records, tokens}."""
        return exports.status(export_id)

    @for_owners
    def download_export(export_id: str) -> gr.FileData:
        """The .zip of a completed export: the GGUF, a Modelfile for Ollama, a README with the commands of llama.cpp."""
        with downloads.new_folder() as folder:
            return gr.FileData(path=str(exports.packed(export_id, folder)))

    @for_owners
    def download_adapter(run_id: str) -> gr.FileData:
        """The .zip of a finished LoRA run's adapters: peft's adapter_model.safetensors and adapter_config.json."""
        with downloads.new_folder() as folder:
            return gr.FileData(path=str(services.pushes.adapter(run_id, folder)))

    return [export_gguf, export_status, download_export, download_adapter]
