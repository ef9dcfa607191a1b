"""Numbers that hand-written pages state are those of the source."""

from pathlib import Path

import pytest

from custody.control_plane.audit.space import DEFAULT_MEGABYTES
from custody.control_plane.settings import LongPollsSection, NodeApiSection
from custody.pkcs11.extraction_attempts import ATTEMPTS
from custody.pkcs11.messages import DEFAULT_CACHED_KEYS_SECONDS
from custody.runtime.http_limits import HttpLimits
from custody.wire.node_api import MAX_AUDIT_RECORDS

DOCS = Path(__file__).parents[3] / "docs"
PUBLIC = HttpLimits()
NODES: HttpLimits = NodeApiSection.model_fields["limits"].default
POLLS = LongPollsSection()
STATED = [
    ("how-to/vendor-settings.md", f"0 keys, for at most {DEFAULT_CACHED_KEYS_SECONDS:g} s each"),
    ("explanation/threat-model.md", f"`doctor` tries {len(ATTEMPTS)} ways"),
    (
        "explanation/threat-model.md",
        f"have up to {PUBLIC.connections} connections in total and "
        f"{PUBLIC.address_connections} from one address, each for {PUBLIC.header_seconds:g} s of "
        f"headers and {PUBLIC.body_seconds:g} s of a body, with {PUBLIC.header_bytes // 1024} KiB",
    ),
    (
        "reference/api-limits.md",
        f"| {PUBLIC.header_bytes // 1024} KiB, {PUBLIC.header_count} | 431",
    ),
    (
        "reference/api-limits.md",
        f"| {PUBLIC.header_seconds:g} s; {PUBLIC.body_seconds:g} s, of nodes "
        f"{NODES.body_seconds:g} s | 408",
    ),
    ("reference/api-limits.md", f"| {PUBLIC.address_connections} | 429 `too_many_connections`"),
    ("reference/api-limits.md", f"| {PUBLIC.connections} | closed without an answer"),
    ("reference/api-limits.md", f"| {DEFAULT_MEGABYTES} MB | 429 `audit_store_full`"),
    ("how-to/audit-and-retention.md", f"each node may store {DEFAULT_MEGABYTES} MB of records"),
    ("how-to/audit-and-retention.md", f"in pages of up to {MAX_AUDIT_RECORDS}"),
    ("reference/wire-protocol/node-api.md", f"exact bytes of up to {MAX_AUDIT_RECORDS} records"),
    ("reference/api-limits.md", f"| {POLLS.of_token}, {POLLS.total} | 429 `too_many_waits`"),
]


@pytest.mark.parametrize(("page", "text"), STATED)
def test_a_page_states_the_number_of_the_source(page: str, text: str):
    assert text in " ".join((DOCS / page).read_text("utf-8").split())
