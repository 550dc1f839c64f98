"""Asks pip-audit whether what is installed has known holes: `python tests/audit.py`.

Exits with 1 when there are any that a newer version closes; says so and exits with 0 where its data cannot be reached
(tests/test_floors.py holds without it). Tools that only install other packages are left out.
"""

import json
import subprocess
import sys

_SECONDS = 120
_TOOLS = {"pip", "setuptools", "wheel"}


def main() -> int:
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--progress-spinner",
        "off",
        "--timeout",
        "5",
        "-f",
        "json",
    ]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return unreachable(f"no answer within {_SECONDS} seconds")
    try:
        found = holes(json.loads(result.stdout))
    except ValueError:
        return unreachable((result.stderr.strip().splitlines() or ["no output"])[-1][:200])
    for line in found:
        print(line)
    print(f"pip-audit: {len(found)} known holes that a newer version closes")
    return 1 if found else 0


def holes(report: dict) -> list[str]:
    """One line a hole that has a fix, from pip-audit's report."""
    return [
        f"{package['name']} {package['version']}: {hole['id']}, closed in {', '.join(hole['fix_versions'])}"
        for package in report["dependencies"]
        if package["name"] not in _TOOLS
        for hole in package.get("vulns", [])
        if hole.get("fix_versions")
    ]


def unreachable(why: str) -> int:
    print(f"pip-audit's data cannot be reached ({why}); the floors of tests/test_floors.py hold without it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
