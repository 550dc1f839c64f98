"""Planted label errors: `python tests/benchmarks/label_errors.py --data sms-spam.tsv`.

Flips a share of the labels of a table with label and text, and says how many of them stand among the most suspicious tenth,
for several seeds. Goal: at least 80 % of 5 % flipped.
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llmdemo import data
from llmdemo.core.store import Home
from llmdemo.data.split import parts
from llmdemo.selection.labels import out_of_fold, suspicions
from llmdemo.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="tab-separated: label, text")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows = [row for row in csv.reader(args.data.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)]
    rows = [row for row in rows if len(row) == 2 and row[1].strip()]
    for seed in range(args.seeds):
        generator = np.random.default_rng(seed)
        names = sorted({label for label, _ in rows})
        flipped = generator.permutation(len(rows))[: round(args.share * len(rows))]
        planted = [list(row) for row in rows]
        for place in flipped:
            planted[place][0] = generator.choice([name for name in names if name != rows[place][0]])
        texts = {planted[place][1] for place in flipped}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "planted.tsv"
            path.write_text(
                "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in planted), encoding="utf-8"
            )
            home = Home(Path(folder) / "home").prepare()
            info = data.add_dataset(home, Settings(home=home.root, min_free_bytes=0), path, "planted")
            records = data.open_records(home, info.dataset_id)
            known = list(records)
            found = records.labels() or []
            truth = np.array([names.index(label) for label in found])
            began = time.perf_counter()
            told = suspicions(
                out_of_fold([each["text"] for each in known], truth, parts(records, 7, 5), len(names)), truth
            )
            seconds = time.perf_counter() - began
        wrong = np.array([each["text"] in texts for each in known])
        top = told.order[: len(known) // 10]
        print(
            f"seed {seed}: {len(known)} kept records, {wrong.sum()} flipped; {wrong[top].sum() / wrong.sum():.1%} of them in"
            f" the top 10 %; {told.suspicious.sum()} suspicious, of which {wrong[told.suspicious].mean():.1%} flipped;"
            f" {seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
