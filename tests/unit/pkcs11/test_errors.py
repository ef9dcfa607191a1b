"""A failure of the HSM has one form from the worker to the outcome of the job."""

import pytest

from custody.node.errors import NotDone
from custody.pkcs11.errors import (
    BY_CODE,
    HsmFailure,
    InvalidData,
    TooLate,
    message_of,
    raise_failure,
)
from custody.pkcs11.messages import Failure
from custody.wire.outcomes import OutcomeStatus


@pytest.mark.parametrize("kind", BY_CODE.values())
def test_a_failure_that_a_worker_sends_is_raised_as_it_was(kind: type[HsmFailure]) -> None:
    sent = kind("the token answered DeviceError")
    message = Failure.model_validate_json(message_of(sent).model_dump_json())
    with pytest.raises(NotDone) as caught:
        raise_failure(message)
    assert type(caught.value) is kind
    assert caught.value.status is OutcomeStatus.FAILED
    assert (caught.value.code, caught.value.reason) == (kind.code, "the token answered DeviceError")
    assert caught.value.transient is kind.transient


def test_an_operation_that_was_begun_too_late_ends_its_job_as_denied() -> None:
    with pytest.raises(NotDone) as caught:
        raise_failure(message_of(TooLate()))
    assert (caught.value.status, caught.value.code) == (OutcomeStatus.DENIED, "expired")
    assert not caught.value.transient


def test_a_code_that_this_version_does_not_know_is_a_transient_failure() -> None:
    with pytest.raises(HsmFailure) as caught:
        raise_failure(Failure(code="of_another_version", reason="no idea"))
    assert (caught.value.code, caught.value.transient) == ("hsm_failure", True)


def test_only_a_failure_that_another_attempt_can_change_is_transient() -> None:
    transient = {code for code, kind in BY_CODE.items() if kind("").transient}
    assert transient == {"hsm_failure", "hsm_timeout", "hsm_unavailable", "hsm_misconfigured"}
    assert not InvalidData("").transient
