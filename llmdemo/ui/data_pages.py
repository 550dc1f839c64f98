"""What the data panel's script asks for: lists, one record as tokens, what was found. JSON in, JSON out; knows no widget."""

from llmdemo import data, prepare
from llmdemo.core.errors import UserError
from llmdemo.data.codes import CODES
from llmdemo.data.export import FORMATS, SHAPES
from llmdemo.ui import data_api
from llmdemo.ui.data_api import turns
from llmdemo.ui.endpoints import of_endpoints
from llmdemo.ui.rights import for_owners
from llmdemo.ui.samples import starter_tokenizer
from llmdemo.ui.services import Services

_TOKENS_SHOWN = 3000
_PAGE = 20
_PROBLEMS_SHOWN = 200
_FOUND = 500


class DataPages:
    """The functions behind the panel's islands, over one installation's data sets."""

    def __init__(self, services: Services):
        self._services = services
        self._home = services.home

    def functions(self) -> list:
        """Those that the script may call."""
        return [
            self.data_sets, self.report, self.stats, self.cost, self.record, self.listing, self.problems, self.search, self.findings,
            *of_endpoints(data_api.of_data_sets(self._services)),
        ]  # fmt: skip

    @for_owners
    def data_sets(self, _: dict) -> dict:
        """{"sets": [{dataset_id, name, rows, kept, task, version}]}, newest first."""
        keys = ("dataset_id", "name", "rows", "kept", "task", "version", "created")
        infos = [info.to_dict() for info in data.list_datasets(self._home)]
        return {"sets": [{key: info[key] for key in keys} for info in infos]}

    @for_owners
    def report(self, request: dict) -> dict:
        """What was found in a data set: its info, what each kind of problem is called, the first problems."""
        info = self._info(request)
        if info.tokens is None and (tokenizer := starter_tokenizer(self._services)) is not None:
            info = data.measure_tokens(self._home, info.dataset_id, tokenizer)
        values = info.to_dict()
        values.pop("problems")
        return {
            "info": values,
            "kinds": [
                {"code": code, "title": CODES[code].title, "count": count, "switchable": CODES[code].bit is not None}
                for code, count in info.counts.items()
                if count and code in CODES
            ],
            "shapes": SHAPES[info.task],
            "formats": FORMATS,
            **self.problems(request),
        }

    @for_owners
    def stats(self, request: dict) -> dict:
        """All figures of data.stats, and "held_out": how many records a run with the default settings holds out."""
        dataset_id = self._id(request)
        records = data.open_records(self._home, dataset_id)
        usual = prepare.defaults("galore", records.task)
        _, held_out = data.split(records, usual["seed"], usual["eval_share"])
        known = data.stats(self._home, dataset_id, starter_tokenizer(self._services))
        return known | {"held_out": len(held_out), "held_out_fixed": any(records.splits())}

    @for_owners
    def cost(self, request: dict) -> dict:
        """What one epoch costs on this machine: prepare.epoch, by what runs here have shown."""
        return prepare.epoch(self._home, self._id(request), self._services.runs.list())

    @for_owners
    def problems(self, request: dict) -> dict:
        """{"problems", "total"}: those of one kind (`code`) or all, from `offset` on."""
        code = str(request.get("code") or "")
        found, total = data.problems(
            self._home, self._id(request), int(request.get("offset", 0)), _PROBLEMS_SHOWN, code
        )
        return {"problems": found, "total": total}

    @for_owners
    def record(self, request: dict) -> dict:
        """A record as turns, and as tokens when a tokenizer is here: {index, row, place, kept, kind, turns, rows}.

        It is named by `index` among the kept ones, or by `place` among all, also those that are left out. `rows` are
        tokens.view_record's, None without a tokenizer.
        """
        info = self._info(request)
        records = data.open_records(self._home, info.dataset_id)
        if request.get("place") is not None:
            place = min(max(int(request["place"]), 0), info.records - 1)
            found = int(records.places.searchsorted(place))
            index = found if found < len(records) and records.places[found] == place else None
            record = data.open_records(self._home, info.dataset_id, everything=True)[place]
        else:
            index = min(max(int(request.get("index", 0)), 0), len(records) - 1)
            record, place = records[index], int(records.places[index])
        about = {"row": record["row"], "place": place, "index": index, "kept": index is not None}
        return about | {"kind": info.task, "turns": turns(record)} | self._rows(record, info, request)

    def _rows(self, record: dict, info, request: dict) -> dict:
        """{"rows", "max_length"}: the record token by token; "refused" where the chat template does not take it."""
        tokenizer = starter_tokenizer(self._services, info.task)
        if tokenizer is None:
            return {"rows": None}
        longest = info.tokens["max_length"] if info.tokens else data.DEFAULT_MAX_LENGTH
        loss_on = "all" if request.get("loss_on") == "all" else "response"
        try:
            rows = data.view_record(record, tokenizer, longest, loss_on, _TOKENS_SHOWN)
        except UserError as error:
            return {"rows": None, "refused": f"{error.message} {error.hint}".strip()}
        return {"rows": rows, "max_length": longest}

    @for_owners
    def listing(self, request: dict) -> dict:
        """{"records": [{place, row, kept, excerpt, problems}], "total", "offset"}: a page of all records, or of those found."""
        records = data.open_records(self._home, self._id(request), everything=True)
        offset, query = max(0, int(request.get("offset", 0))), str(request.get("query") or "")[:200]
        found, total = records.page(offset, _PAGE, query, str(request.get("code") or ""))
        shown = [
            {
                "place": each["index"],
                "row": each["row"],
                "kept": each["kept"],
                "excerpt": data.excerpt(each),
                "problems": [CODES[code].title for code in each["problems"]],
            }
            for each in found
        ]
        return {"records": shown, "total": total, "offset": offset, "size": _PAGE}

    @for_owners
    def search(self, request: dict) -> dict:
        """{"indices"}: the first records whose text holds `text`, whatever the case."""
        records = data.open_records(self._home, self._id(request))
        return {"indices": [int(index) for index in records.search(str(request.get("text", ""))[:200])[:_FOUND]]}

    @for_owners
    def findings(self, request: dict) -> dict:
        """{"text"}: every problem as JSON or CSV."""
        pieces = data.report_csv if request.get("kind") == "csv" else data.report_json
        return {"text": "".join(pieces(self._home, self._id(request)))}

    def _id(self, request: dict) -> str:
        dataset_id = request.get("dataset_id")
        if not isinstance(dataset_id, str):
            raise UserError("err_dataset_unnamed")
        return dataset_id

    def _info(self, request: dict):
        return data.get_dataset(self._home, self._id(request))
