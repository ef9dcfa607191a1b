"""The committed reference pages are what the source gives."""

import pytest

from devstack.reference.markdown import COMMAND, NOTE
from devstack.reference.pages import DOCS, generated_pages

PAGES = generated_pages()


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_is_up_to_date(name: str):
    path = DOCS / name
    committed = path.read_text("utf-8") if path.exists() else None
    if committed != PAGES[name]:
        pytest.fail(f"docs/{name} is out of date. Run: {COMMAND}", pytrace=False)


def test_no_page_is_left_over_from_a_source_that_is_gone():
    generated = {
        str(path.relative_to(DOCS))
        for path in DOCS.rglob("*.md")
        if NOTE in path.read_text("utf-8")
    }
    assert generated == set(PAGES)
