"""The check of words finds each forbidden one, where it is, and no plain phrase."""

import pytest

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
