"""A signer that its operator has frozen signs nothing; the others do."""

from collections.abc import Iterator
from contextlib import contextmanager

from custody.client import Custody, Key, SignatureStatus
from devstack.signer import Signer
from tests.acceptance.mpc.locks.conftest import SECONDS, Locked, ask, signed, until_reason


@contextmanager
def frozen(signer: Signer) -> Iterator[None]:
    """From now on, whether the control plane knows it or not."""
    signer.freeze("its owner looks into something")
    try:
        yield
    finally:
        signer.unfreeze()


def test_frozen_signers_sign_nothing_and_others_go_on_without_them(
    locked: Locked, custody: Custody, key: Key
) -> None:
    signers = locked.stack.signers
    with frozen(signers["signer-1"]):
        made = signed(key, custody.sign_message(key.id, "one frozen"), "one frozen")
        assert locked.quorum_of(made.id) == {"signer-2", "signer-3"}
        with frozen(signers["signer-2"]):
            asked = ask(custody, key, "two frozen")
            waiting = until_reason(custody, asked, "frozen", "waiting_for_signers")
            assert waiting.status is SignatureStatus.PENDING
            assert locked.has_signed(asked.id) == set()
        done = custody.get_signature(key.id, asked.id, wait=SECONDS)
        signed(key, done, "two frozen")
        assert locked.quorum_of(asked.id) == {"signer-2", "signer-3"}
