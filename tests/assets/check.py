"""Checks the page's scripts with their own tools: prettier, eslint, tsc and node's test runner.

The tools come from npm, as package-lock.json pins them; the app itself needs none of them.
"""

import re
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock  # torch and transformers bring it

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parents[1] / "assets"
NEEDS = 20
_MODULES = HERE / "node_modules" / ".bin"
_SCRIPTS = ["../../assets/**/*.js", "../../assets/**/*.css", "*.js", "!../../assets/lib/preact.js"]


def why_not() -> str:
    """Why the checks can't be made here, in a sentence; "" when they can."""
    if not (shutil.which("node") and shutil.which("npm")):
        return f"The page's scripts were not checked: node and npm {NEEDS} or later are not on this machine."
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    found = re.match(r"v(\d+)", version)
    if not found or int(found[1]) < NEEDS:
        return (
            f"The page's scripts were not checked: node is {version.strip() or 'broken'}, {NEEDS} or later is needed."
        )
    return ""


def main() -> int:
    """0 when all is well, or nothing can be checked, which is said; else what the worst check answered."""
    if reason := why_not():
        print(reason)
        return 0
    if not fetched():
        print("The tools for the page's scripts could not be fetched from npm; nothing was checked.")
        return 1
    checks = [
        [str(_MODULES / "prettier"), "--config", "prettier.json", "--check", *_SCRIPTS],
        [str(_MODULES / "eslint"), "--config", "tests/assets/eslint.config.js", "assets", "tests/assets"],
        [str(_MODULES / "tsc"), "--project", "tsconfig.json"],
        *tests(),
    ]
    folders = [HERE, HERE.parents[1], HERE, HERE, HERE]  # eslint wants to stand above what it reads
    return max(run(*command, folder=folder) for command, folder in zip(checks, folders, strict=True))


def tests() -> list[list[str]]:
    """Commands that run all test files: those that put something in the place of the browser's own (globalThis), which may
    stand before the page's scripts are loaded, in a process each; the others in one, as most of the time is node's start."""
    files = {path: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.test.js"))}
    apart = [path.name for path, text in files.items() if "globalThis" in text]
    together = "\n".join(f'import "./{path.name}";' for path in files if path.name not in apart)
    run_together = ["node", "--test-reporter=spec", "--input-type=module", "--eval", together]
    return [run_together, ["node", "--test", "--test-reporter=spec", *apart]]


def fetched() -> bool:
    """Whether the tools are there, in node_modules/, as package-lock.json pins them; fetches them where they are not."""
    wanted, known = HERE / "package-lock.json", HERE / "node_modules" / ".fetched"
    with FileLock(HERE / ".npm.lock"):  # the browser tests need axe, perhaps at the same time
        if known.exists() and known.read_bytes() == wanted.read_bytes():
            return True
        if run("npm", "ci", "--no-audit", "--no-fund", "--silent"):
            return False
        known.write_bytes(wanted.read_bytes())
        return True


def run(*command: str, folder: Path = HERE) -> int:
    print("$", " ".join(command).replace("\n", " "), flush=True)
    return subprocess.run(command, cwd=folder).returncode


if __name__ == "__main__":
    raise SystemExit(main())
