"""The commands that the page shows for a served model: curl and OpenAI's Python client. The tests run them as they are."""

import json
import shlex

from llmdemo.serving.registry import Served

KEY_VARIABLE = "OPENAI_API_KEY"
_QUESTION = "What is the capital of France?"


def examples(served: Served, base: str, classifies: bool) -> dict[str, str]:
    """{"curl": a command, "python": a script} that ask the model at `base`, the app's address without a slash at its end.

    The key is taken from the environment variable OPENAI_API_KEY, so that it stands in no command and no file.
    """
    return {"curl": _curl(served, base, classifies), "python": _python(served, base, classifies)}


def _curl(served: Served, base: str, classifies: bool) -> str:
    path = "classifications" if classifies else "chat/completions"
    body = {"model": served.name, "input": _QUESTION} if classifies else _chat(served)
    return (
        f"curl {shlex.quote(f'{base}/v1/{path}')} \\\n"
        f'  -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )


def _python(served: Served, base: str, classifies: bool) -> str:
    opening = f"from openai import OpenAI\n\nclient = OpenAI(base_url={f'{base}/v1'!r})  # the key: {KEY_VARIABLE}\n"
    if classifies:
        body = {"model": served.name, "input": [_QUESTION]}
        return opening + f'print(client.post("/classifications", body={body!r}, cast_to=object))\n'
    asked = ", ".join(f"{key}={value!r}" for key, value in _chat(served).items())
    return (
        opening
        + f"stream = client.chat.completions.create(\n    {asked},\n    stream=True,\n)\n"
        + 'for chunk in stream:\n    print(chunk.choices[0].delta.content or "", end="", flush=True)\nprint()\n'
    )


def _chat(served: Served) -> dict:
    return {"model": served.name, "messages": [{"role": "user", "content": _QUESTION}], "max_tokens": 64}
