"""The reference of error codes: the problems of the APIs, and an index of all other codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from custody.control_plane.problems import EXTRA_HEADERS, STATUS_AND_TITLE
from custody.runtime.http_limits import RefusalCode, Refused
from devstack.reference.markdown import page, table

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
INTRODUCTION = """\
A code is stable: it never changes its meaning. The text beside a code is for people and may change.
A reader must expect codes that a later version adds."""
PROBLEMS = """\
The public API and the node API answer a failed request with `application/problem+json` (RFC 9457).
`code` is one of these. `detail` says what was wrong and what to do."""
OTHERS = """\
These codes are in outcomes of jobs, in the `reason` of a request, and in the answers of delivery
servers. The linked page has the meaning."""
TABLES = {
    "request-reasons.md": "reason of a request",
    "wire-protocol/nodes.md": "outcome of a job",
    "wire-protocol/delivery-servers.md": "answer of a delivery server",
}
"""The pages with tables of codes. Tests compare these tables with the source."""
ROW = re.compile(r"^\| (?:\d{3} \| )?`([a-z_]+)` \|", re.MULTILINE)
TABLE_WITH_CODES = re.compile(r"^\| (?:status \| )?code \|.*\n(?:\|.*\n)+", re.MULTILINE)


def error_codes_page() -> dict[str, str]:
    """Return the page's text by its path under docs/."""
    text = page(
        "Error codes",
        INTRODUCTION,
        "## Problems of the HTTP APIs",
        PROBLEMS,
        table(("code", "status", "title", "headers"), sorted(_problems())),
        "## All other codes",
        OTHERS,
        table(("code", "where"), _others()),
    )
    return {"reference/error-codes.md": text}


def _problems() -> Iterator[tuple[str, str, str, str]]:
    for code, (status, title) in STATUS_AND_TITLE.items():
        headers = ", ".join(f"`{name}`" for name in EXTRA_HEADERS.get(code, ()))
        yield f"`{code}`", str(status), title, headers
    for refusal in RefusalCode:
        head, _, body = Refused(refusal, "").response().partition(b"\r\n\r\n")
        problem = json.loads(body)
        headers = "`Retry-After`" if b"retry-after" in head else ""
        yield f"`{refusal}`", str(problem["status"]), problem["title"], headers


def _others() -> list[tuple[str, str]]:
    places: dict[str, list[str]] = {}
    for name, where in TABLES.items():
        text = (REFERENCE / name).read_text("utf-8")
        for rows in TABLE_WITH_CODES.findall(text):
            for code in ROW.findall(rows):
                link = f"[{where}]({name})"
                if link not in places.setdefault(code, []):
                    places[code].append(link)
    return [(f"`{code}`", ", ".join(places[code])) for code in sorted(places)]
