"""Named parameters become numbers, and nothing else in the text changes."""

import pytest

from custody.database.query import Query


def test_names_are_numbered_in_their_order_and_bound_so():
    query = Query("SELECT :b, :a, :b::text WHERE x = ANY(:a)")
    assert query.text == "SELECT $1, $2, $1::text WHERE x = ANY($2)"
    assert query.bind({"a": [1], "b": "x", "unused": 0}) == ("x", [1])


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a :name', x::text",
        "SELECT 'it''s :name'",
        'SELECT ":name" FROM t',
        "SELECT 1 -- :name\n",
        "SELECT /* :name\n:other */ 1",
        "SELECT health ->> 'works' || '::'",
        "SELECT a[1:2]",
    ],
)
def test_strings_names_comments_casts_and_slices_stay(text: str):
    assert (Query(text).text, Query(text).names) == (text, ())
    assert Query(text).bind(None) == ()


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(KeyError, match="id"):
        Query("SELECT :id").bind({"ids": []})


def test_a_query_shows_its_text_and_no_value():
    assert repr(Query("SELECT\n  :id")) == "Query('SELECT $1')"
