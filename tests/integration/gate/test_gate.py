"""The gate: whatever it does but approve, for this digest and in time, opens nothing."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.node.approvals import Approval, Approvals
from custody.node.errors import Denied, Failed
from custody.node.gate import Gate
from custody.node.gate_client import GateClient
from custody.node.gate_messages import Decision
from custody.node.settings import GateSection
from custody.node.slots import Slots
from custody.runtime.errors import ConfigurationError
from custody.wire.algorithms import HashFunction, Store
from custody.wire.jobs import Job
from custody.wire.requests import SignHash
from devstack.certificates import Certificates, Leaf
from devstack.processes import LOCALHOST, free_port
from tests import played_gate
from tests.integration.gate.conftest import gate_section
from tests.played_gate import PlayedGate
from tests.unit.node.requests import KEY, complete, job_around

TIMEOUT = 0.5
"""Seconds that the gate has here, so that what hangs does not keep the tests waiting."""


class OpenGate:
    """A node's gate, put together."""

    def __init__(self, section: GateSection, pool: Pool, slots: Slots) -> None:
        self.client = GateClient(section)
        self.slots = slots
        self.gate = Gate(
            section,
            self.client,
            Approvals(pool, "zurich-1"),
            slots,
            node="zurich-1",
            store=Store.HSM,
        )

    async def decide(self, job: Job) -> Approval:
        self.slots.take()
        try:
            return await self.gate.decide(job, "shop")
        finally:
            self.slots.give_back()


@pytest.fixture
async def gate(section: GateSection, pool: Pool) -> AsyncIterator[OpenGate]:
    opened = OpenGate(section, pool, Slots(2))
    async with opened.client:
        yield opened


async def test_an_approval_opens_and_is_not_asked_for_again(
    gate: OpenGate, played: PlayedGate
) -> None:
    job = job_around(complete())
    first = await gate.decide(job)
    assert (first.decision, first.reason) == (Decision.APPROVE, "said the test")
    played.play = played_gate.reject
    assert await gate.decide(job) == first
    assert len(played.asked) == 1


async def test_a_rejection_stands_too(gate: OpenGate, played: PlayedGate) -> None:
    job = job_around(complete())
    played.play = played_gate.reject
    assert (await gate.decide(job)).decision is Decision.REJECT
    played.play = played_gate.approve
    again = await gate.decide(job)
    assert (again.decision, again.reason) == (Decision.REJECT, "not this payee")


@pytest.mark.parametrize(
    "changes",
    [
        {"id": uuid4()},
        {"request": complete(message="pay the other one").model_dump_json().encode()},
        {"key": KEY.model_copy(update={"id": uuid4()})},
    ],
    ids=["another id", "another message", "another key"],
)
async def test_a_decision_is_for_that_request_alone(
    gate: OpenGate, played: PlayedGate, changes
) -> None:
    job = job_around(complete())
    await gate.decide(job)
    played.play = played_gate.reject
    other = await gate.decide(job.model_copy(update=changes))
    assert other.decision is Decision.REJECT


async def test_pending_is_asked_again_until_it_is_decided(
    gate: OpenGate, played: PlayedGate
) -> None:
    job = job_around(complete())
    played.play = played_gate.pending
    for _ in range(2):
        with pytest.raises(Failed, match="asked the treasurer") as caught:
            await gate.decide(job)
        assert (caught.value.code, caught.value.transient) == ("approval_pending", True)
    played.play = played_gate.approve
    assert (await gate.decide(job)).decision is Decision.APPROVE
    assert len(played.asked) == 3


NO_ANSWERS = {
    **{
        f"a gateway's {status}": (partial(played_gate.as_a_gateway, status), "gate_unavailable")
        for status in (408, 429, 502, 503, 504)
    },
    "it hangs": (played_gate.hang, "gate_unavailable"),
    "it ends too late": (played_gate.approve_bit_by_bit, "gate_unavailable"),
    "it fails": (played_gate.approve_with_status_500, "gate_unavailable"),
    "another status": (played_gate.approve_with_status_201, "gate_bad_answer"),
    "another digest": (played_gate.approve_another_digest, "gate_bad_answer"),
    "a redirect": (played_gate.redirect, "gate_bad_answer"),
    "nothing": (played_gate.say_nothing, "gate_bad_answer"),
    "another form": (played_gate.say_html, "gate_bad_answer"),
    "too much": (played_gate.say_too_much, "gate_bad_answer"),
}


@pytest.mark.parametrize(("play", "code"), NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
async def test_what_is_no_approval_opens_nothing(
    played: PlayedGate, section: GateSection, pool: Pool, play, code: str
) -> None:
    quick = section.model_copy(update={"timeout_seconds": TIMEOUT})
    opened = OpenGate(quick, pool, Slots(2))
    played.play = play
    job = job_around(complete())
    async with opened.client:
        with pytest.raises(Failed) as caught:
            await opened.decide(job)
    assert (caught.value.code, caught.value.transient) == (code, True)
    assert await Approvals(pool, "zurich-1").find(job) is None


async def failure_code(section: GateSection, pool: Pool) -> str:
    opened = OpenGate(section, pool, Slots(2))
    async with opened.client:
        with pytest.raises(Failed) as caught:
            await opened.decide(job_around(complete()))
    assert caught.value.transient
    return caught.value.code


async def test_after_a_gateways_answer_the_gate_is_asked_again(
    gate: OpenGate, played: PlayedGate
) -> None:
    job = job_around(complete())
    played.play = partial(played_gate.as_a_gateway, 502)
    with pytest.raises(Failed, match="answered 502"):
        await gate.decide(job)
    played.play = played_gate.approve
    assert (await gate.decide(job)).decision is Decision.APPROVE
    assert len(played.asked) == 2


async def test_a_gate_that_is_down_opens_nothing(
    gate_leaf: Leaf, hmac_key_file: Path, pool: Pool
) -> None:
    url = f"https://{LOCALHOST}:{free_port()}/"
    section = gate_section(url, gate_leaf.ca, hmac_key_file)
    assert await failure_code(section, pool) == "gate_unavailable"


async def test_a_gate_under_another_root_is_not_asked(
    played: PlayedGate, tmp_path: Path, hmac_key_file: Path, pool: Pool
) -> None:
    others = Certificates(tmp_path / "pki")
    section = gate_section(played.url, others.ca, hmac_key_file)
    assert await failure_code(section, pool) == "gate_unavailable"
    assert played.asked == []


async def test_a_proxy_of_the_environment_is_not_used(
    gate: OpenGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{LOCALHOST}:{free_port()}")
    assert (await gate.decide(job_around(complete()))).decision is Decision.APPROVE


async def test_the_question_is_signed_with_the_shared_key(
    gate: OpenGate, played: PlayedGate, hmac_key: bytes
) -> None:
    await gate.decide(job_around(complete()))
    [asked] = played.asked
    time, _, code = asked.signature.removeprefix("t=").partition(",v1=")
    expected = hmac.new(hmac_key, f"{time}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert code == expected
    assert abs(datetime.now(UTC).timestamp() - int(time)) < 60
    assert asked.question.application == "shop"


async def test_bare_hashes_are_refused_unasked_where_the_owner_says_so(
    section: GateSection, pool: Pool, played: PlayedGate
) -> None:
    strict = section.model_copy(update={"allow_bare_hashes": False})
    opened = OpenGate(strict, pool, Slots(2))
    async with opened.client:
        with pytest.raises(Denied) as caught:
            await opened.decide(job_around(SignHash(kind="Hash", hash=bytes(32))))
        assert caught.value.code == "bare_hash_refused"
        bare = KEY.model_copy(update={"network": None})
        inner = complete(message="0x" + bytes(32).hex(), hash_function=HashFunction.SHA_256)
        with pytest.raises(Denied, match="bare_hash_refused"):
            await opened.decide(job_around(inner, key=bare))
        assert played.asked == []
        await opened.decide(job_around(complete()))


async def test_what_waits_holds_no_slot_and_is_limited(
    section: GateSection, pool: Pool, played: PlayedGate
) -> None:
    narrow = section.model_copy(update={"at_once": 2})
    slots = Slots(1)
    opened = OpenGate(narrow, pool, slots)
    played.play = played_gate.hang
    async with opened.client:
        hanging = [asyncio.create_task(opened.decide(job_around(complete()))) for _ in range(2)]
        await asyncio.to_thread(played.wait_until_asked, 2)
        assert slots.busy == 0
        with pytest.raises(Failed) as caught:
            await opened.decide(job_around(complete()))
        assert (caught.value.code, caught.value.transient) == ("gate_busy", True)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert slots.busy == 0


async def test_of_two_decisions_the_first_stands(pool: Pool) -> None:
    job = job_around(complete())
    decisions = [Decision.APPROVE, Decision.REJECT] * 5
    made = await asyncio.gather(
        *(
            Approvals(pool, f"driver-{number}").record(job, decision, f"of {number}")
            for number, decision in enumerate(decisions)
        )
    )
    assert len(set(made)) == 1
    assert await Approvals(pool, "driver-1").find(job) == made[0]


def test_a_key_that_is_too_short_or_that_others_may_read_is_an_error(
    section: GateSection, hmac_key_file: Path
) -> None:
    hmac_key_file.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="less than 16 bytes"):
        GateClient(section)
    hmac_key_file.write_bytes(b"0123456789abcdef")
    hmac_key_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="read by other users"):
        GateClient(section)
