"""Takes the large files out of a run's folder and leaves what it showed: settings, events, log. Knows nothing of why."""

import json
import shutil

from llmdemo.errors import UserError
from llmdemo.runs.folder import RunFolder
from llmdemo.runs.states import FINAL
from llmdemo.runs.table import Table
from llmdemo.store import Home, new_id

_LARGE = ("model", "checkpoints")
_HINT = "Its figures stay; run it again with its settings to have the model back."


def slim(home: Home, table: Table, folder: RunFolder, why: str) -> None:
    """Removes model/ and checkpoints/ of a run that has ended, and notes `why` where the run's end is told.

    Raises UserError for a run that has not ended, OSError when the note cannot be written.
    """
    run_id, graves = folder.path.name, []
    with table.transaction():
        row = table.get(run_id)
        if row is None or row["state"] not in FINAL:
            raise UserError("The run is still going.", "Stop it first.")
        # The folder alone must tell it too: the table can be lost.
        folder.note("end", state=row["state"], reason=row["reason"], message=why, hint=_HINT)
        figures = json.loads(row["digest"]) if row["digest"] else None
        if figures is not None:
            figures |= {"model_id": None}
        table.set(run_id, message=why, hint=_HINT, digest=figures)
        for path in (folder.path / name for name in _LARGE):
            if path.exists():
                graves.append(home.tmp / f"{new_id('deleted')}-{run_id}-{path.name}")
                path.rename(graves[-1])
    for grave in graves:
        shutil.rmtree(grave, ignore_errors=True)
