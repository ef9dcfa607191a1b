"""What a node takes in of a control plane that lies about numbers."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import ValidationError

from custody.wire.node_api import MAX_LEFT_IN_FLIGHT, BanQuestionResponse, LeftPair


def test_no_more_pairs_are_taken_in_than_a_heartbeat_can_have_told():
    pairs = [
        LeftPair(key_id=uuid4(), signer="signer-2", since=datetime.now(UTC))
        for _ in range(MAX_LEFT_IN_FLIGHT + 1)
    ]
    BanQuestionResponse(answers=(), left_in_flight=tuple(pairs[1:]))
    with pytest.raises(ValidationError, match=f"at most {MAX_LEFT_IN_FLIGHT}"):
        BanQuestionResponse(answers=(), left_in_flight=tuple(pairs))
