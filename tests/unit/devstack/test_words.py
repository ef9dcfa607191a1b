"""The check of words finds each forbidden one, where it is, and no plain phrase."""

import subprocess
from pathlib import Path

import pytest

import devstack.words as words_module
from devstack.words import CHECKOUT, LIST, findings, words

FORBIDDEN = words((CHECKOUT / LIST).read_text())


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Mended at last.", "Mended"),
        ("It cannot go\n    on.", "go on"),
        ("# it goes\n# on", "goes on"),
        ("This is no key.", "is no"),
        ("kept as it is", "as it is"),
        ("of whom one", "whom"),
    ],
)
def test_a_forbidden_word_is_found(text: str, word: str) -> None:
    (found,) = findings("a.py", "first line\n" + text, FORBIDDEN)
    assert (found.path, found.line, found.word) == ("a.py", 2, word)


@pytest.mark.parametrize(
    "text",
    ["there is no key", "as soon as it is there", "recommend it", "ongoing", "the going on_"],
)
def test_a_plain_phrase_is_not_found(text: str) -> None:
    assert list(findings("a.py", text, FORBIDDEN)) == []


def test_each_finding_says_what_to_write() -> None:
    assert len(FORBIDDEN) > 25
    assert all(word.advice for word in FORBIDDEN)


@pytest.mark.parametrize(("text", "code"), [("It was mended.\n", 1), ("It was fixed.\n", 0)])
def test_the_command_fails_when_a_tracked_file_has_a_forbidden_word(
    text: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = tmp_path / LIST
    listed.parent.mkdir(parents=True)
    listed.write_text((CHECKOUT / LIST).read_text())
    (tmp_path / "page.md").write_text(text)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(words_module, "CHECKOUT", tmp_path)
    assert words_module.main() == code
    found = "page.md:1: 'mended': write fix, correct\n" if code else ""
    assert capsys.readouterr().out == found
