"""The one cache of the daemons: bounded in entries and in time."""

from custody.runtime.cache import Cache


def test_a_value_is_found_until_its_time_is_over() -> None:
    now = 0.0
    cache = Cache[str, int](10, seconds=5, clock=lambda: now)
    cache.put("a", 1)
    now = 4.9
    assert cache.get("a") == 1
    assert "a" in cache
    now = 5.0
    assert "a" not in cache
    assert cache.get("a") is None
    assert len(cache) == 0


def test_reading_a_value_does_not_lengthen_its_time_and_putting_it_does() -> None:
    now = 0.0
    cache = Cache[str, int](10, seconds=5, clock=lambda: now)
    for key in ("read", "put"):
        cache.put(key, 1)
    now = 4.0
    assert cache.get("read") == 1
    cache.put("put", 2)
    now = 6.0
    assert (cache.get("read"), cache.get("put")) == (None, 2)


def test_a_full_cache_drops_what_was_unused_the_longest() -> None:
    cache = Cache[str, int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_a_removed_value_is_returned_once() -> None:
    now = 0.0
    cache = Cache[str, int](2, seconds=5, clock=lambda: now)
    cache.put("a", 1)
    assert (cache.pop("a"), cache.pop("a")) == (1, None)
    cache.put("b", 2)
    now = 5.0
    assert cache.pop("b") is None


def test_keys_may_be_removed_while_they_are_listed() -> None:
    cache = Cache[str, int](3)
    for key in "abc":
        cache.put(key, 1)
    for key in cache:
        if key != "b":
            cache.pop(key)
    assert list(cache) == ["b"]
