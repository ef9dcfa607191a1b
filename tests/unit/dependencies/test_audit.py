"""What `make audit` says, and what it must not claim."""

from email.message import Message
from pathlib import Path

import pytest

from custody.runtime.console import EXIT_COULD_NOT_CHECK, EXIT_FAILED
from devstack.dependencies import __main__ as program
from devstack.dependencies.advisories import judge
from devstack.dependencies.checks import LOCK, Check, Result
from devstack.dependencies.licences import (
    EXCEPTIONS,
    check_licences,
    is_allowed,
    licence_of,
    locked_packages,
    not_allowed,
)

CLEAN = {"name": "one", "version": "1", "vulns": []}
SKIPPED = {"name": "two", "skip_reason": "not found"}
VULNERABLE = {
    "name": "three",
    "version": "3",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["3.1"], "aliases": []}],
}


@pytest.mark.parametrize(
    ("dependencies", "result"),
    [
        ([CLEAN], Result.OK),
        ([CLEAN, SKIPPED], Result.NOT_CHECKED),
        ([], Result.NOT_CHECKED),
        ([CLEAN, VULNERABLE], Result.FAILED),
        ([SKIPPED, VULNERABLE], Result.FAILED),
    ],
)
def test_a_package_that_the_service_does_not_know_has_not_been_checked(dependencies, result):
    assert judge("advisories", dependencies).result is result


def test_a_finding_names_the_package_the_advisory_and_the_fix():
    (line,) = judge("advisories", [VULNERABLE]).details
    assert line == "three 3: PYSEC-2026-1; fixed in 3.1"


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result.OK, Result.OK], 0),
        ([Result.OK, Result.NOT_CHECKED], EXIT_COULD_NOT_CHECK),
        ([Result.NOT_CHECKED, Result.FAILED], EXIT_FAILED),
    ],
)
def test_the_exit_code_tells_passed_failed_and_not_checked_apart(results, code):
    assert program.exit_code([Check("a check", result) for result in results]) == code


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND MIT", False),
        ("", False),
    ],
)
def test_a_licence_expression_is_allowed_only_if_one_choice_is_allowed_whole(expression, allowed):
    assert is_allowed(expression) is allowed


def package(**fields: str | list[str]) -> Message:
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (
            package(License_Expression="MIT", Classifier="License :: OSI Approved :: BSD License"),
            "MIT",
        ),
        (package(Classifier=["License :: OSI Approved :: MIT License"]), "MIT"),
        (package(Classifier=["License :: Other/Proprietary License"]), None),
        (package(License="Apache-2.0"), "Apache-2.0"),
        (package(License="Ask our sales department"), None),
        (package(Classifier="Programming Language :: Python"), None),
    ],
)
def test_a_licence_is_read_from_what_a_package_says(metadata, licence):
    assert licence_of(metadata) == licence


def test_the_locked_packages_have_licences_that_are_allowed():
    assert list(check_licences(LOCK).details) == []


def test_an_unknown_licence_is_not_allowed():
    assert not_allowed("some", None)
    assert not_allowed("some", "LGPL-3.0-only")


def test_an_exception_is_for_one_package_under_one_licence():
    licence, reason = EXCEPTIONS["psycopg"]
    assert reason
    assert not_allowed("psycopg", licence) is None
    assert not_allowed("psycopg", "AGPL-3.0-only")


def test_packages_of_other_systems_are_left_out(tmp_path: Path):
    lock = tmp_path / "lock"
    lock.write_text(
        "one==1 \\\n    --hash=sha256:00\n"
        "two==2 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    assert list(locked_packages(lock)) == ["one"]
