"""The hub of the tests of pushes, with Jobs as huggingface_hub asks for them: a job's command is really run, as a process."""

import json
import os
import subprocess
import sys
import threading
from urllib.parse import parse_qs, urlsplit

from tests.publish.conftest import PushHub

OFFERS = [
    {"name": "t4-small", "prettyName": "Nvidia T4 - small", "cpu": "4 vCPU", "ram": "15 GB", "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"},
     "unitCostMicroUSD": 6667, "unitCostUSD": 0.006667},
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "unitLabel": "minute",
     "accelerator": None, "unitCostMicroUSD": 167, "unitCostUSD": 0.000167},
]  # fmt: skip
HUB_ID = "687fb701029421ae5549d99"


class JobsHub(PushHub):
    """`jobs` {hub's id: {spec, stage, message, lines}}; `runs`: whether a new one's command is run; `refusals` {start of a
    path: (code, error)}; `folder`: where the commands work; `begins_as`, `message`: the stage of a new job, `result`: a bundle that it
    leaves in its repository."""

    def __init__(self, folder):
        self.jobs, self.folder, self.runs, self.refusals = {}, folder, False, {}
        self.cancelled: list[str] = []
        self.begins_as, self.message, self.result = "SCHEDULING", None, None
        super().__init__()

    def answer(self, handler):
        path = urlsplit(handler.path).path
        refused = next((said for start, said in self.refusals.items() if path.startswith(start)), None)
        if not path.startswith("/api/jobs") or refused:
            if refused:
                self.body_of(handler)
                return self.send(handler, refused[0], {"error": refused[1]})
            return super().answer(handler)
        token = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        body = self.body_of(handler)
        if token not in self.tokens:
            return self.send(handler, 401, {"error": "Invalid credentials in Authorization header"})
        parts = path.strip("/").split("/")[2:]
        if parts == ["hardware"]:
            return self.send(handler, 200, OFFERS)
        if parts[0] != self.tokens[token]:
            return self.send(handler, 403, {"error": "Forbidden"})
        if len(parts) == 1:
            return self.send(handler, 200, self._begin(json.loads(body)) if body else self._listed(handler.path))
        if parts[1] not in self.jobs:
            return self.send(handler, 404, {"error": "Job not found"})
        if parts[2:] == ["logs"]:
            return self._log(handler, parts[1])
        if parts[2:] == ["cancel"]:
            self.cancelled.append(parts[1])
            self.jobs[parts[1]]["stage"] = "CANCELED"
        return self.send(handler, 200, self._info(parts[1]))

    def _begin(self, spec):
        hub_id = f"{HUB_ID}{len(self.jobs)}"
        self.jobs[hub_id] = {"spec": spec, "stage": self.begins_as, "message": self.message, "lines": []}
        if self.result is not None:
            self.repos[spec["environment"]["LLMDEMO_REPO"]][spec["environment"]["LLMDEMO_RESULT"]] = self.result
        if self.runs:
            threading.Thread(target=self._run, args=(self.jobs[hub_id],), daemon=True).start()
        return self._info(hub_id)

    def _run(self, job):
        """The command without uv, which would install what is here already."""
        spec = job["spec"]
        assert spec["command"][:3] == ["uv", "run", "--no-project"] and "--with" in spec["command"]
        env = {**os.environ, **spec["environment"], **spec["secrets"], "HF_ENDPOINT": self.url,
               "LLMDEMO_WORK": str(self.folder), "OMP_NUM_THREADS": "1", "HF_HOME": str(self.folder / "cache"),
               "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        argv = [sys.executable, *spec["command"][spec["command"].index("python") + 1 :]]
        job["stage"] = "RUNNING"
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        job["lines"] += [line.rstrip("\n") for line in process.stdout]
        job["stage"] = "COMPLETED" if process.wait() == 0 else "ERROR"

    def _listed(self, path):
        wanted = dict(label.split("=", 1) for label in parse_qs(urlsplit(path).query).get("label", []))
        return [self._info(i) for i, job in self.jobs.items() if wanted.items() <= job["spec"]["labels"].items()]

    def _info(self, hub_id):
        job = self.jobs[hub_id]
        return {
            "id": hub_id, "createdAt": "2026-11-29T10:00:00.000Z", "dockerImage": job["spec"].get("dockerImage"),
            "command": job["spec"].get("command"), "environment": job["spec"].get("environment"),
            "flavor": job["spec"].get("flavor"), "labels": job["spec"].get("labels"),
            "status": {"stage": job["stage"], "message": job["message"]},
            "durations": {"schedulingSecs": 1, "runningSecs": 90, "totalSecs": 91},
            "owner": {"id": "5e9ecfc04957053f60648a3e", "name": "ann", "type": "user"},
        }  # fmt: skip

    def _log(self, handler, hub_id):
        """What there is so far; a client that follows asks again until the job is over."""
        events = [{"timestamp": "2026-11-29T10:00:00.000Z", "data": line} for line in self.jobs[hub_id]["lines"]]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        self.send(handler, 200, text.encode(), {"Content-Type": "text/event-stream"})

    def _model(self, path, value, token):
        code, answer = super()._model(path, value, token)
        if isinstance(answer, dict) and "siblings" in answer:
            answer["siblings"] = [{"rfilename": name} for name in self.repos["/".join(path.split("/")[3:5])]]
        return code, answer
