"""The lines of an audit export, from records that somebody may have changed."""

import json

import pytest

from custody.runtime.audit_lines import record_line


def line_of(record: bytes) -> dict[str, object]:
    return dict(json.loads(record_line(7, record, bytes(32), bytes(32))))


def test_a_record_is_kept_whole_with_the_names_of_ecs():
    line = line_of(b'{"node":"driver-1","kind":"Sign","reason":"a test"}')
    assert (line["event.action"], line["service.node.name"]) == ("Sign", "driver-1")
    assert line["custody.reason"] == "a test"


@pytest.mark.parametrize(
    "record",
    [
        b'{"kind":"Sign","x":' + b"[" * 40 + b"]" * 40 + b"}",  # deep levels may end the process
        b'["Sign"]',
        b'{"kind":',
        b'{"kind":"\xff"}',
    ],
    ids=["too deep", "a list", "cut", "not UTF-8"],
)
def test_a_record_that_cannot_be_read_is_kept_without_fields(record: bytes):
    line = line_of(record)
    assert "event.action" not in line
    assert str(line["event.original"]).encode("utf-8", "surrogateescape") == record
