"""The control plane's own reasons are in the document, each once."""

import re
from pathlib import Path

from custody.control_plane.conductor.planning import (
    endings,
    history,
    obstacles,
    servers,
    set_making,
    share_sets,
)
from custody.control_plane.jobs.transitions import BAD_RESULT, EXPIRED

DOCUMENT = Path(__file__).parents[4] / "docs" / "reference" / "request-reasons.md"
ROW = re.compile(r"^\| `(\w+)` \| (?:Pending|Failed|Rejected) \|", re.MULTILINE)


def test_every_reason_is_in_the_document():
    codes = {
        obstacles.WAITING,
        obstacles.BUSY,
        obstacles.BLOCKED,
        obstacles.NO_QUORUM,
        servers.NO_SERVER,
        obstacles.DENIED,
        obstacles.CANNOT,
        endings.SILENT,
        history.LEFT_IN_FLIGHT,
        set_making.DISAGREE,
        share_sets.NO_SHARE,
        BAD_RESULT,
        EXPIRED,
    }
    assert sorted(ROW.findall(DOCUMENT.read_text())) == sorted(codes)
