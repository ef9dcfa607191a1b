"""Checks that each Python package of the lock has a licence which this project allows."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

from devstack.dependencies.checks import Check, Result

# SPDX ids. These licences ask a user only to keep their text. MPL-2.0 also asks to publish changes
# of its files: this project changes none.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
}
# Packages with another licence, each with the reason for which this project may use it.
EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", "imported unchanged; its user can replace it"),
    "psycopg-binary": ("LGPL-3.0-only", "imported unchanged; its user can replace it"),
    "pycryptodome": ("BSD-3-Clause AND LicenseRef-Public-Domain", "parts are in the public domain"),
}
# Packages whose metadata names no licence. The text of the licence is in the wheel.
ONLY_IN_TEXT = {"pyrage": "MIT"}
# The classifiers of packages without a License-Expression (PEP 639).
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Public Domain": "LicenseRef-Public-Domain",
    "Python Software Foundation License": "PSF-2.0",
}


def check_licences(lock: Path) -> Check:
    """Check the packages of a lock that are installed here, on this kind of machine."""
    findings = []
    for name in locked_packages(lock):
        try:
            found = licence_of(metadata(name))
        except PackageNotFoundError:
            findings.append(f"{name} is not installed. Run: make install")
            continue
        if finding := not_allowed(name, found):
            findings.append(finding)
    name = f"licences of the Python packages in {lock.name}"
    return Check(name, Result.FAILED if findings else Result.OK, findings)


def locked_packages(lock: Path) -> Iterator[str]:
    """Yield the names in a lock, without the packages of other operating systems."""
    for line in re.findall(r"^[A-Za-z0-9].*$", lock.read_text(), re.MULTILINE):
        requirement = Requirement(line.removesuffix("\\"))
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement.name


def licence_of(package: PackageMetadata) -> str | None:
    """Return the SPDX expression of a package; None if its metadata names no known licence."""
    if "License-Expression" in package:
        return package["License-Expression"]
    named = [
        CLASSIFIERS.get(text.rpartition(" :: ")[2])
        for text in package.get_all("Classifier") or []
        if text.startswith("License :: ")
    ]
    if named:
        # Several classifiers can mean "and" or "or": every one of them must be allowed.
        return None if None in named else " AND ".join(sorted(str(one) for one in named))
    text = package["License"].strip() if "License" in package else ""
    return text if text in ALLOWED else ONLY_IN_TEXT.get(package["Name"])


def not_allowed(name: str, licence: str | None) -> str | None:
    """Return why this project must not use a package; None if it may."""
    if licence is None:
        return f"{name} names no licence that this check knows"
    if is_allowed(licence):
        return None
    if name in EXCEPTIONS and EXCEPTIONS[name][0] == licence:
        return None
    return f"{name} has the licence {licence}, which is not allowed"


def is_allowed(expression: str) -> bool:
    """Return True if an SPDX expression allows the use; False for one with parentheses."""
    return any(
        all(part.strip() in ALLOWED for part in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )
