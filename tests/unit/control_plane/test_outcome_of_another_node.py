"""A driver that finds in the group's journal what another one committed reports that."""

from uuid import uuid4

import pytest

from custody.control_plane.jobs.results import BadResult, read_outcome
from custody.wire.outcomes import Outcome, OutcomeStatus

JOB = uuid4()


def outcome(status: OutcomeStatus, node: str | None) -> bytes:
    code = None if status is OutcomeStatus.DONE else "some_code"
    made = Outcome(job_id=JOB, node=node, status=status, code=code)
    return made.model_dump_json().encode()


@pytest.mark.parametrize("status", [OutcomeStatus.DONE, OutcomeStatus.DENIED])
def test_a_final_outcome_may_be_of_a_node_that_ended_before_it_could_report(status):
    assert read_outcome(outcome(status, "node-1"), JOB, "node-2").node == "node-1"


@pytest.mark.parametrize("status", [OutcomeStatus.FAILED, OutcomeStatus.REFUSED])
def test_what_asks_for_another_attempt_is_the_reporting_nodes_own(status):
    assert read_outcome(outcome(status, "node-2"), JOB, "node-2").node == "node-2"
    with pytest.raises(BadResult, match="of another node, node-1"):
        read_outcome(outcome(status, "node-1"), JOB, "node-2")


@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_every_outcome_that_is_reported_names_its_node(status):
    with pytest.raises(BadResult, match="names no node"):
        read_outcome(outcome(status, None), JOB, "node-2")
