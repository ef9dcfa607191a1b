"""A session belongs to the process that made it, and no two processes draw the same."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import key

DIGEST = hashlib.sha256(b"a message").digest()


def in_a_fork(work: Callable[[], bytes]) -> bytes:
    """What `work` gives in a child forked from this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        given = pipe.read()
    os.waitpid(child, 0)
    return given


def first_messages(session: native.Dkg | native.Signing) -> bytes:
    messages = session.start()
    everything = messages.broadcast + b"".join(messages.private.values())
    return hashlib.sha256(everything).digest()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_two_forks_of_one_process_do_not_repeat_its_randomness(protocol: str) -> None:
    share, session = key(protocol)[1], parties.session_id()
    first_messages(native.Signing(share, [1, 2], DIGEST, session))  # the generator is seeded

    def signing() -> bytes:
        return first_messages(native.Signing(share, [1, 2], DIGEST, session))

    def generating() -> bytes:
        return first_messages(native.Dkg(protocol, 1, 2, 3, session))

    drawn = [in_a_fork(signing), in_a_fork(signing), signing()]
    drawn += [in_a_fork(generating), in_a_fork(generating), generating()]
    assert [len(one) for one in drawn] == [32] * 6
    assert len(set(drawn)) == 6


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_two_forks_of_one_process_deal_different_polynomials(protocol: str) -> None:
    share = key(protocol)[1]

    def dealing() -> bytes:
        return native.deal(share, [1, 2], 2, 3).commitments[1]

    drawn = [in_a_fork(dealing), in_a_fork(dealing), dealing()]
    assert len(set(drawn)) == 3
    assert b"" not in drawn


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_session_is_refused_in_a_fork_of_its_process(protocol: str) -> None:
    sessions = parties.signing_sessions(key(protocol), [1, 2], DIGEST)
    sent = {index: session.start() for index, session in sessions.items()}

    def carried_on() -> bytes:
        try:
            sessions[1].advance({2: (sent[2].broadcast, sent[2].private.get(1, b""))})
        except native.LocalMisuse as error:
            return str(error).encode()
        return b"carried on"

    assert in_a_fork(carried_on) == b"the session belongs to another process"


DRAW = """
import hashlib
from mpc import _native
messages = _native.Dkg("{protocol}", 1, 2, 3, bytes(32)).start()
print(hashlib.sha256(messages.broadcast + b"".join(messages.private.values())).hexdigest())
"""


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_two_spawned_processes_draw_differently(protocol: str) -> None:
    drawn = {
        subprocess.run(
            [sys.executable, "-c", DRAW.format(protocol=protocol)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    }
    assert len(drawn) == 2
