"""A large English text from Debian's packages, as JSON Lines of {"text"}: for pretraining where nothing else can be fetched.

    python tests/benchmarks/debian_text.py OUT.jsonl [--packages FOLDER] [--megabytes 200]

Packages are fetched by `apt-get download`, or taken from FOLDER. It is what it is: the Linux kernel's documentation, the
GNU Collaborative International Dictionary of English, FOLDOC, WordNet's glosses, and manuals of Perl, Python, the Debian
system and others, which is technical prose and a dictionary and no sample of the web. The packages' licences are free
(GPL, Artistic, PSF, GFDL without invariant sections, WordNet's); nothing of them is part of this project.
"""

import argparse
import gzip
import html
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("linux-doc-6.12", "dict-gcide", "dict-foldoc", "wordnet-base", "anarchism", "perl-doc", "python3.11-doc",
            "python-django-doc", "python-scipy-doc", "bible-kjv-text", "manpages", "manpages-dev", "apache2-doc",
            "postgresql-doc-15", "git-doc", "debian-reference-en", "abs-guide", "fortunes", "sqlite3-doc")  # fmt: skip
LONGEST = 6000
_TAG, _DROP = re.compile(r"<[^>]+>"), re.compile(r"(?is)<(script|style|head|nav|pre)\b.*?</\1>")
_ROFF = re.compile(r"(?m)^[.'].*$|\\f[BIRP]|\\[&|^]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", type=Path, help="folder of .deb files")
    parser.add_argument("--megabytes", type=float, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(arguments.out, "w", encoding="utf-8") as out:
        debs = arguments.packages or fetch(Path(folder))
        seen: set[int] = set()
        total = 0
        for package in PACKAGES:
            before = total
            for deb in debs.glob(f"{package}_*.deb"):
                for text in texts(deb):
                    if hash(text) not in seen and total < 1e6 * arguments.megabytes:
                        seen.add(hash(text))
                        total += len(text)
                        out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            print(f"{package}: {(total - before) / 1e6:.1f} MB of text")


def fetch(folder: Path) -> Path:
    for package in PACKAGES:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=False, capture_output=True)
    return folder


def texts(deb: Path) -> Iterator[str]:
    """Pieces of at most LONGEST characters, each from one file."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile() and (
                text := plain(member.name, lambda member=member: archive.extractfile(member).read())
            ):
                yield from pieces(text)


def plain(name: str, read) -> str:
    """The text of a file, or "" for one that holds none."""
    if "/translations/" in name or "changelog" in name or name.endswith(("copyright", "searchindex.js")):
        return ""
    if name.endswith(".dz"):
        return gzip.decompress(read()).decode("utf-8", "replace")
    if re.search(r"wordnet/data\.\w+$", name):
        lines = read().decode("latin-1").splitlines()
        return "\n\n".join(glossed(line) for line in lines if "|" in line)
    if "bible" in name and name.endswith(".data"):
        return ""
    if re.search(r"/man/man\d/.*\.gz$", name):
        return _ROFF.sub("", gzip.decompress(read()).decode("utf-8", "replace"))
    if "/_sources/" in name and name.endswith(".gz"):
        return gzip.decompress(read()).decode("utf-8", "replace")
    if (
        name.endswith((".pod", ".rst.txt", ".txt"))
        or "/_sources/" in name
        or "/fortunes/" in name
        and "." not in name[-4:]
    ):
        return read().decode("utf-8", "replace")
    if (
        name.endswith((".html", ".html.en"))
        and "linux-doc" not in name
        and "scipy" not in name
        and "genindex" not in name
    ):
        return html.unescape(_TAG.sub("", _DROP.sub("", read().decode("utf-8", "replace"))))
    return ""


def glossed(line: str) -> str:
    """A line of WordNet's data files as "words: gloss"."""
    fields, _, gloss = line.partition("|")
    parts = fields.split()
    words = [parts[4 + 2 * k].replace("_", " ") for k in range(int(parts[3], 16))]
    return f"{', '.join(words)}: {gloss.strip()}"


def pieces(text: str) -> Iterator[str]:
    """Paragraphs together up to LONGEST characters, blank lines and runs of spaces made one."""
    text = re.sub(r"[ \t]+", " ", text.replace("\r", ""))
    piece = ""
    for part in re.split(r"\n\s*\n+", text):
        part = part.strip()[:LONGEST]
        if len(piece) + len(part) > LONGEST:
            yield piece
            piece = ""
        piece += ("\n\n" if piece else "") + part
    if len(piece) > 80:
        yield piece


if __name__ == "__main__":
    main()
