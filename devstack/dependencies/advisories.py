"""Looks for known vulnerabilities of the Python packages and of the crates.

Both databases are on the network. A check without its database has not passed: pip-audit itself
ends with 0 if the service knows none of the packages.
"""

import json
from pathlib import Path
from typing import Any

from devstack.dependencies.checks import CRATE, TOOLS, Check, Result, last_lines, run

OF_CRATES = "advisories for the crates"


def check_python(lock: Path) -> Check:
    name = f"advisories for the Python packages in {lock.name}"
    ended = run(
        TOOLS / "pip-audit", "--disable-pip", "--require-hashes", "--requirement", lock,
        "--format", "json", "--progress-spinner", "off",
    )  # fmt: skip
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        return Check(name, Result.NOT_CHECKED, last_lines(ended.stderr, 3))
    return judge(name, answer["dependencies"])


def judge(name: str, dependencies: list[dict[str, Any]]) -> Check:
    """Judge pip-audit's answer. A package that pip-audit skipped has not been checked."""
    vulnerable = [
        f"{one['name']} {one['version']}: {found['id']}; fixed in "
        f"{', '.join(found['fix_versions']) or 'no version'}"
        for one in dependencies
        for found in one.get("vulns", [])
    ]
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    if skipped or not dependencies:
        missing = f"{len(skipped)} of {len(dependencies)} packages: the service has no answer for "
        missing += ", ".join(skipped[:3]) + (" and others" if skipped[3:] else "")
        result = Result.FAILED if vulnerable else Result.NOT_CHECKED
        return Check(name, result, [*vulnerable, missing])
    return Check(name, Result.FAILED if vulnerable else Result.OK, vulnerable)


def check_crates() -> Check:
    fetched = run("cargo-deny", "fetch", "db", folder=CRATE)
    if fetched.returncode:
        return Check(OF_CRATES, Result.NOT_CHECKED, last_lines(fetched.stderr, 1))
    ended = run("cargo-deny", "check", "--disable-fetch", "advisories", folder=CRATE)
    if ended.returncode:
        return Check(OF_CRATES, Result.FAILED, last_lines(ended.stderr))
    return Check(OF_CRATES, Result.OK)
