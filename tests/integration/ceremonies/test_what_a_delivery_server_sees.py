"""All that a delivery server is given in whole ceremonies tells nothing about what is done in them.

Every byte is read that signers send, and every value that would tell something is looked for, in
every encoding. The last tests show that the search finds what is there.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from coincurve import PublicKey, PublicKeyXOnly
from structlog.testing import capture_logs

from custody.node.handlers import Work
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Curve
from custody.wire.jobs import JobKind
from custody.wire.node_api import ClaimedJob
from custody.wire.outcomes import MadeSignature, Outcome, OutcomeStatus, PreparedShare
from custody.wire.requests import CREATE_SIGNATURE, SignHash
from custody.wire.statements import Confirmation
from custody.wire.tickets import PROTOCOL
from mpc.ceremonies import delivery_client
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Admitted
from mpc.ceremonies.hello import Opened
from mpc.ceremonies.ticket_seal import TicketSeal
from tests.integration.ceremonies import orders, parties
from tests.integration.ceremonies.orders import ControlPlane, Key, Order
from tests.integration.ceremonies.parties import NAMES, Organisation, Parties, ended, wanted
from tests.integration.ceremonies.recorded_delivery import RecordedDelivery
from tests.integration.ceremonies.test_whole_paths import approve_repair
from tests.integration.ceremonies.traces import encodings, found

ONE, TWO, THREE = NAMES[:3]
BAN_REASON = "the OT extension's check does not hold"
HEADERS = {
    b"host",
    b"accept",
    b"accept-encoding",
    b"user-agent",
    b"content-length",
    b"content-type",
}


class Watched:
    """Collects, from orders and outcomes, what the delivery server must not learn."""

    def __init__(self, delivery: RecordedDelivery) -> None:
        self.delivery = delivery
        self.secrets: dict[str, bytes] = {}
        self.orders: list[Order] = []

    def learned(self) -> set[str]:
        """What the recorded bytes tell."""
        assert self.orders
        assert self.secrets
        assert len(self.delivery.received) > 10_000  # and not nothing
        return found(self.delivery.received, self.secrets)

    def keep(self, name: str, value: bytes | UUID | None) -> None:
        content = value.bytes if isinstance(value, UUID) else value
        if content is not None and content not in self.secrets.values():
            self.secrets[f"{name} {len(self.secrets)}"] = content

    def see_order(self, order: Order) -> None:
        self.orders.append(order)
        job, ticket = order.job, order.ticket
        for name in ("id", "step_of", "request_id", "ceremony", "request_digest", "request"):
            value = getattr(job, name)
            if value != b"{}":
                self.keep(f"job {name}", value)
        if ticket is not None and job.kind != JobKind.SIGN:
            self.keep("job kind", job.kind.encode())
        if job.kind == JobKind.SIGN:
            request = CREATE_SIGNATURE.validate_json(job.request)
            self.keep("message", request.hash if isinstance(request, SignHash) else request.content)
        self.see_public_key(job.key.public_key, job.key.curve)
        if ticket is not None:
            for name in ("ceremony", "job_id", "job_digest", "key_id", "share_set_id", "digest"):
                self.keep(f"ticket {name}", getattr(ticket, name))
            for name in ("secret", "group", "protocol"):
                value = getattr(ticket, name)
                self.keep(f"ticket {name}", value.encode() if isinstance(value, str) else value)

    def see_outcome(self, outcome: Outcome) -> None:
        if isinstance(outcome.result, MadeSignature):
            made = outcome.result.signature
            for name in ("r", "s", "signature", "encoded"):
                self.keep(f"made {name}", getattr(made, name, None))
        if isinstance(outcome.result, PreparedShare):
            said = Confirmation.model_validate_json(outcome.result.confirmation.payload)
            self.keep("chain code", said.chain_code)
            self.keep("transcript", said.transcript)
            curve = Curve.ED25519 if "ed25519" in said.protocol else Curve.SECP256K1
            self.see_public_key(said.public_key, curve)

    def see_public_key(self, public_key: bytes | None, curve: Curve) -> None:
        """Whole, and in the halves of which every form of it is made."""
        self.keep("public key", public_key)
        if public_key is None or curve is not Curve.SECP256K1:
            return
        if len(public_key) == 32:
            assert PublicKeyXOnly(public_key).format() == public_key
            public_key = b"\x02" + public_key
        whole = PublicKey(public_key).format(compressed=False)
        self.keep("x of the public key", whole[1:33])
        self.keep("y of the public key", whole[33:])


@pytest.fixture
async def watched(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    delivery = RecordedDelivery()
    seen = Watched(delivery)
    claimed, do = ControlPlane.claimed, parties.Party.do

    def watched_claimed(self: ControlPlane, order: Order) -> ClaimedJob:
        seen.see_order(order)
        return claimed(self, order)

    async def watched_do(self: parties.Party, job: ClaimedJob) -> Outcome:
        outcome = await do(self, job)
        seen.see_outcome(outcome)
        return outcome

    monkeypatch.setattr(ControlPlane, "claimed", watched_claimed)
    monkeypatch.setattr(parties.Party, "do", watched_do)
    leaf, key = organisation.server_leaf, organisation.job_signing_key
    async with delivery.serving(leaf, key, monkeypatch):
        yield seen


async def hold_every_ceremony(signers: Parties, key: Key) -> Key:
    """Generate, prove, sign, repair, refresh."""
    key = await signers.make_key(key)
    await signers.sign(key)
    loser, *helpers = key.signers
    await signers[loser].rows("DELETE FROM shares")
    for helper in helpers:
        await approve_repair(signers[helper], key, loser)
    for order in (orders.repair(key, loser, helpers), orders.refresh(key)):
        outcomes = await signers.hold(order)
        assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
    return key


@pytest.mark.parametrize("algorithm", list(PROTOCOL), ids=str)
async def test_it_learns_nothing_of_what_is_done_in_whole_ceremonies(start, watched, algorithm):
    signers = await start(delivery_url=watched.delivery.url)
    with capture_logs() as logs:
        await hold_every_ceremony(signers, Key(algorithm, 2, NAMES[:3]))
    kinds = {order.ticket.kind.value for order in watched.orders if order.ticket is not None}
    assert kinds == {"Generate", "Sign", "Refresh", "Repair"}
    assert watched.learned() == set()
    assert watched.delivery.headers() <= HEADERS
    of_signers = "ceremony begins"  # they run in this process, too, and log both of its names
    of_the_server = [line for line in logs if "meeting" in line and line["event"] != of_signers]
    assert not found(repr(of_the_server).encode(), watched.secrets)


async def test_it_learns_nothing_of_an_abort(with_key, watched):
    signers, key = await with_key(EDDSA_ED25519, delivery_url=watched.delivery.url)
    loser, one, other = key.signers
    await signers[loser].rows("DELETE FROM shares")
    await approve_repair(signers[one], key, loser)
    with capture_logs() as logs:
        outcomes = await signers.hold(orders.repair(key, loser, [one, other]).until(5))
    assert {ended(outcomes[name])[0] for name in (loser, one)} == {"peer_aborted"}
    assert outcomes[one].reason is not None
    assert "mpc-signer repair approve" in outcomes[one].reason  # the participants know why
    watched.keep("abort reason", b"repair_not_approved")
    assert watched.learned() == set()
    [told] = [line for line in logs if line["event"] == "ceremony aborted"]
    assert told.keys() == {"event", "log_level", "meeting", "signer"}


async def ceremony_with_bans(with_key, watched) -> None:
    """Two sign, one of which knows of a ban and tells the other."""
    signers, key = await with_key(ECDSA_SECP256K1, delivery_url=watched.delivery.url)
    await signers[ONE].bans.ban(key.id, THREE, BAN_REASON, uuid4())
    [stated] = await signers[ONE].bans.statements(key.id)
    watched.keep("ban", stated.payload)
    watched.keep("ban reason", BAN_REASON.encode())
    watched.keep("ban signature", stated.signature)
    await signers.sign(key, (ONE, TWO))
    # the second signer has learned it from the hello
    assert stated in await signers[TWO].bans.statements(key.id)


async def test_it_learns_nothing_of_bans_that_signers_tell_each_other(with_key, watched):
    await ceremony_with_bans(with_key, watched)
    assert watched.learned() == set()


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What signers have said first; kept on the way into the hello."""
    said: list[bytes] = []
    to_bytes = Opened.to_bytes

    def kept(self: Opened) -> bytes:
        said.append(self.opening)
        return to_bytes(self)

    monkeypatch.setattr(Opened, "to_bytes", kept)
    return said


async def test_it_learns_no_nonce_commitment(with_key, watched, openings):
    """With one, and with signatures on a chain, it could tell which of them this ceremony made."""
    signers, key = await with_key(EDDSA_ED25519, delivery_url=watched.delivery.url)
    await signers.sign(key)
    assert len(openings) == 2
    for opening in openings:
        for start in range(0, len(opening) - 32, 8):
            watched.keep(f"commitment from {start}", opening[start : start + 32])
    assert watched.learned() == set()


async def test_hellos_of_all_protocols_have_one_size_with_and_without_bans(with_key, watched):
    sizes = set()
    for algorithm in PROTOCOL:
        signers, key = await with_key(algorithm, delivery_url=watched.delivery.url)
        for is_banned in (False, True):
            if is_banned:
                await signers[ONE].bans.ban(key.id, THREE, BAN_REASON, uuid4())
            watched.delivery.forget()
            await signers.sign(key, (ONE, TWO))
            sizes |= hello_sizes(watched.delivery.received)
    assert len(sizes) == 1


def hello_sizes(received: bytes) -> set[bytes]:
    """Content-Length of the requests with hellos."""
    heads = [part.split(b"\r\n\r\n", 1)[0] for part in received.split(b"/exchanges/0 ")[1:]]
    return {
        line for head in heads for line in head.lower().split(b"\r\n") if b"content-length" in line
    }


# Whether anything would be found


async def test_it_would_be_found_if_hellos_were_not_sealed(with_key, watched, monkeypatch):
    monkeypatch.setattr(TicketSeal, "_seal", lambda _, __, ___, plaintext: plaintext)
    monkeypatch.setattr(TicketSeal, "_open", lambda _, __, ___, sealed: sealed)
    await ceremony_with_bans(with_key, watched)
    told = {name.rpartition(", ")[0].rstrip(" 0123456789") for name in watched.learned()}
    assert {"ban", "ban reason", "ban signature", "ticket key_id"} <= told


async def test_it_would_be_found_if_the_server_were_given_the_signers_ticket(
    with_key, watched, monkeypatch
):
    admit = Admission.admit

    async def admit_and_show(self: Admission, work: Work) -> Admitted:
        admitted = await admit(self, work)
        return replace(admitted, delivery_ticket=admitted.signed)

    monkeypatch.setattr(Admission, "admit", admit_and_show)
    monkeypatch.setattr(delivery_client, "_meeting", lambda _: uuid4())
    signers, key = await with_key(EDDSA_ED25519, delivery_url=watched.delivery.url)
    await signers.hold(orders.sign(key, key.quorum, wanted(key)).until(3))
    assert {name.split(" ")[1] for name in watched.learned()} >= {"key_id", "job_digest", "secret"}


def each_encoding() -> Iterator[tuple[str, bytes, bytes]]:
    for value in (uuid4().bytes, bytes(range(1, 33)), bytes(range(2, 35)), b"treasury"):
        for name, needle in encodings(value):
            yield f"{len(value)} bytes, {name}", value, needle


@pytest.mark.parametrize(
    ("value", "needle"),
    [pytest.param(value, needle, id=name) for name, value, needle in each_encoding()],
)
def test_a_value_is_found_in_every_encoding(value, needle):
    assert found(b"\r\n" + needle + b"\xff", {"planted": value})
