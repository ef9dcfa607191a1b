"""One signer lies, in each exchange of each protocol: nothing comes of it, and it is named.

Whatever a liar does, no honest signer has a signature or a share that is not right; what it
costs is the ceremony. Offsets into messages are those of tests/unit/mpc/native.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.lying import Liars, Lie, Words, changed
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import (
    Parties,
    abandonment,
    ended,
    signature_of,
    wanted,
)
from tests.integration.ceremonies.test_whole_paths import approve_repair
from tests.unit.mpc.native.lies import SEC1_GENERATOR, Change, flip, put

ED25519_GENERATOR = bytes.fromhex("58" + "66" * 31)
LIAR, HONEST, TARGET = "signer-2", "signer-1", "signer-3"
DKLS, ED25519, TAPROOT = ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> Liars:
    return Liars(monkeypatch)


@dataclass(frozen=True)
class Case:
    """``culprits``: the signers that each honest signer that finds the lie names."""

    exchange: int
    what: str
    words: Words
    code: str = "ceremony_aborted"
    culprits: tuple[str, ...] = (LIAR,)


def broadcast(change: Change, only_to: str | None = None) -> Words:
    return changed("broadcast", change, only_to)


def private(change: Change, only_to: str | None = None) -> Words:
    return changed("private", change, only_to)


def either(change: Change) -> Words:
    """In whichever of both the exchange has."""

    def words(_: str, said: bytes, secretly: bytes) -> tuple[bytes, bytes]:
        return (change(said), secretly) if said else (said, change(secretly))

    return words


GARBAGE: dict[str, Change] = {
    "garbage": lambda _: bytes(range(256)),
    "nothing": lambda _: b"",
    "cut short": lambda message: message[:-1],
    "a byte too many": lambda message: message + b"\0",
    "too large": lambda message: message + bytes(200_000),
    "another's index within": flip(4),
    "of another exchange": flip(3),
    "of another ceremony": flip(37),
}


def garbage(*exchanges: int) -> list[Case]:
    return [
        Case(exchange, what, either(change))
        for exchange in exchanges
        for what, change in GARBAGE.items()
    ]


def frost(kind: str, point: bytes, scalar: int, share: int) -> list[Case]:
    """``scalar``, ``share``: where a proof's response, and a share, have their lowest byte."""
    match kind:
        case "dkg":
            return [
                Case(1, "wrong commitment", broadcast(put(44, point))),
                Case(1, "wrong proof", broadcast(flip(scalar))),
                Case(2, "wrong share", private(flip(share))),
                Case(3, "wrong key", broadcast(flip(-1))),
                *garbage(1, 2, 3),
            ]
        case "sign":
            return [
                Case(0, "wrong nonces", broadcast(put(43, point))),
                Case(0, "no nonces", broadcast(lambda _: b"")),
                Case(1, "wrong share", broadcast(flip(share))),
                *garbage(1),
            ]
    return [
        Case(1, "wrong commitment", broadcast(put(44, point))),
        Case(2, "wrong share", private(flip(share))),
        Case(3, "wrong key", broadcast(flip(-1))),
        *garbage(1, 2, 3),
    ]


def of_ed25519(kind: str) -> list[Case]:
    return frost(kind, ED25519_GENERATOR, -32, 43)


def of_taproot(kind: str) -> list[Case]:
    return frost(kind, SEC1_GENERATOR, -1, -1)


BANS = [
    Case(exchange, what, words, "banned_counterparty")
    for exchange, what, words in (
        (1, "the OT extension's matrix", private(flip(144))),
        (1, "the OT extension's check", private(flip(-1))),
        (2, "the multiplication's answer", private(flip(-1))),
        (2, "gamma u", private(put(73, SEC1_GENERATOR))),
        (2, "gamma v", private(put(107, SEC1_GENERATOR))),
        (2, "the public share", private(put(174, SEC1_GENERATOR))),
    )
]
NO_BANS = [
    Case(1, "wrong commitment", private(flip(72))),
    Case(2, "wrong salt", private(flip(242))),
    Case(3, "wrong share", broadcast(flip(70)), culprits=()),
    *garbage(1, 2, 3),
]
ECDSA_DKG = [
    Case(1, "garbage", either(GARBAGE["garbage"])),
    Case(2, "wrong commitment", broadcast(flip(38))),
    Case(2, "another's index", broadcast(put(38 + 32, b"\x01"))),
    Case(3, "wrong proof", broadcast(put(39, SEC1_GENERATOR))),
    Case(3, "wrong multiplication", private(flip(100_000))),
]
ECDSA_REFRESH = [
    Case(1, "wrong share", private(flip(70)), culprits=()),
    Case(2, "garbage", either(GARBAGE["garbage"])),
    Case(3, "wrong seed", private(flip(40))),
    Case(3, "nothing", either(GARBAGE["nothing"])),
]
REPAIR = {
    DKLS: [Case(1, "wrong share", private(flip(60))), *garbage(1)],
    ED25519: [
        Case(1, "wrong share", private(flip(38))),
        Case(2, "wrong share", private(flip(38))),
        *garbage(1, 2),
    ],
    TAPROOT: [
        Case(1, "wrong share", private(flip(69))),
        Case(2, "wrong share", private(flip(69))),
        *garbage(1, 2),
    ],
}


def order_of(kind: str, key: Key) -> Order:
    """The liar takes part."""
    match kind:
        case "dkg":
            return orders.generate(Key(key.algorithm, key.threshold, key.signers))
        case "sign":
            return orders.sign(key, key.quorum, wanted(key))
        case "refresh":
            return orders.refresh(key)
    return orders.repair(key, TARGET, [HONEST, LIAR])


async def hold_with_lie(
    parties: Parties, order: Order, liars: Liars, lie: Lie
) -> dict[str, tuple[str, tuple[str, ...]]]:
    """How it ended for each honest signer: none has anything of the ceremony."""
    liars.lies(parties[LIAR], lie)
    outcomes = await parties.hold(order)
    assert lie.told
    for name in order.participants:
        if name != LIAR:
            rows = await parties[name].rows(
                "SELECT FROM shares WHERE ceremony = :ceremony", ceremony=order.ceremony
            )
            assert rows == []
    return {name: ended(outcome) for name, outcome in outcomes.items() if name != LIAR}


async def tell(parties: Parties, key: Key, liars: Liars, kind: str, case: Case) -> None:
    how = await hold_with_lie(
        parties, order_of(kind, key), liars, Lie(case.exchange, words=case.words)
    )
    # the first signer that finds the lie ends the ceremony for the others
    found = {ending for ending in how.values() if ending[0] != "peer_aborted"}
    assert found == {(case.code, case.culprits)}, (case.exchange, case.what, how)
    # a lie at the end leaves the liar itself with a set: out of the way of the next
    await parties[LIAR].rows("DELETE FROM shares WHERE state = 'confirmed'")


@pytest.mark.parametrize("kind", ["dkg", "sign", "refresh"])
@pytest.mark.parametrize("cases", [of_ed25519, of_taproot])
async def test_a_lie_in_frost_ends_the_ceremony_and_names_the_liar(
    with_key, liars, kind: str, cases: Callable[[str], list[Case]]
):
    parties, key = await with_key(ED25519 if cases is of_ed25519 else TAPROOT)
    for case in cases(kind):
        await tell(parties, key, liars, kind, case)
    liars.tells_the_truth(parties[LIAR])
    await parties.sign(key)


async def test_a_lie_that_could_test_a_bit_of_the_key_is_answered_by_a_ban(with_key, liars):
    parties, key = await with_key(DKLS)
    for case in BANS:
        await tell(parties, key, liars, "sign", case)
        (ban,) = await parties[HONEST].bans.all()
        assert (ban.signer, ban.banned, ban.key_id) == (HONEST, LIAR, key.id)
        for party in parties.of(key):
            await party.rows("DELETE FROM bans")  # as if it had never been, for the next


async def test_any_other_lie_in_ecdsa_signing_bans_nobody(with_key, liars):
    parties, key = await with_key(DKLS)
    for case in NO_BANS:
        await tell(parties, key, liars, "sign", case)
    assert await parties[HONEST].bans.all() == []
    liars.tells_the_truth(parties[LIAR])
    await parties.sign(key)


@pytest.mark.parametrize(("kind", "cases"), [("dkg", ECDSA_DKG), ("refresh", ECDSA_REFRESH)])
async def test_a_lie_while_ecdsa_shares_are_made_leaves_none(with_key, liars, kind, cases):
    parties, key = await with_key(DKLS, 2, 2)
    for case in cases:
        await tell(parties, key, liars, kind, case)
    assert await parties[HONEST].bans.all() == []
    liars.tells_the_truth(parties[LIAR])
    await parties.sign(key)


async def test_a_wrong_share_to_one_alone_gives_nobody_an_ecdsa_key(with_key, liars):
    parties, key = await with_key(DKLS)
    words = private(flip(70), only_to=HONEST)
    case = Case(1, "wrong share", words, culprits=())
    await tell(parties, key, liars, "dkg", case)


@pytest.mark.parametrize("algorithm", REPAIR, ids=str)
async def test_a_lie_in_a_repair_gives_the_target_no_share(with_key, liars, algorithm):
    parties, key = await with_key(algorithm)
    for helper in (HONEST, LIAR):
        await approve_repair(parties[helper], key, TARGET)
    await parties[TARGET].rows("DELETE FROM shares")
    for case in REPAIR[algorithm]:
        lie = Lie(case.exchange, words=case.words)
        liars.lies(parties[LIAR], lie)
        outcomes = await parties.hold(order_of("repair", key))
        assert lie.told
        ending = ended(outcomes[TARGET])
        assert ending[0] in ("ceremony_aborted", "peer_aborted"), case.what
        assert ending[1] in ((), (LIAR,)), case.what
        assert await parties[TARGET].states(key) == []


@pytest.mark.parametrize("kind", ["dkg", "refresh"])
async def test_who_tells_each_something_else_is_found_out(with_key, liars, kind):
    parties, key = await with_key(ED25519)
    words = broadcast(flip(50), only_to=TARGET)
    how = await hold_with_lie(parties, order_of(kind, key), liars, Lie(1, words=words))
    assert {code for code, _ in how.values()} <= {
        "echo_mismatch", "ceremony_aborted", "peer_aborted",
    }  # fmt: skip
    assert {culprit for _, culprits in how.values() for culprit in culprits} <= {LIAR}


@pytest.mark.parametrize("kind", ["dkg", "sign", "refresh"])
async def test_who_greets_each_with_another_hello_is_found_out(with_key, liars, kind):
    parties, key = await with_key(ED25519, 3, 3)
    how = await hold_with_lie(parties, order_of(kind, key), liars, Lie(0, other_hello=True))
    assert "echo_mismatch" in {code for code, _ in how.values()}


@pytest.mark.parametrize("kind", ["dkg", "refresh"])
async def test_a_lie_to_one_at_the_very_end_leaves_a_set_that_is_never_used(with_key, liars, kind):
    """The others have confirmed, and give it up when they are asked."""
    parties, key = await with_key(ED25519)
    lie = Lie(3, words=broadcast(flip(-1), only_to=TARGET))
    order = order_of(kind, key)
    liars.lies(parties[LIAR], lie)
    outcomes = await parties.hold(order)
    assert ended(outcomes[TARGET]) == ("ceremony_aborted", (LIAR,))
    confirmed = [outcomes[name] for name in (HONEST, LIAR)]
    assert [each.status for each in confirmed] == ["DONE", "DONE"]
    # the public key of a key that was never made is not known to the control plane
    about = key if kind == "refresh" else replace(key, id=order.job.key.id, public_key=None)
    everybody = [HONEST, LIAR, TARGET]
    given_up = await parties.hold(orders.abandon(about, order.ceremony), everybody)
    for name, said in given_up.items():
        abandonment(said)
        assert (await parties[name].states(about))[-1] == "abandoned"
    await parties.sign(key)


async def test_a_lie_to_one_at_the_end_of_signing_gives_the_other_a_signature_that_holds(
    with_key, liars
):
    parties, key = await with_key(ED25519, 3, 3)
    order = order_of("sign", key)
    liars.lies(parties[LIAR], Lie(1, words=broadcast(flip(43), only_to=TARGET)))
    outcomes = await parties.hold(order)
    assert ended(outcomes[TARGET]) == ("ceremony_aborted", (LIAR,))
    signature_of(outcomes[HONEST])  # which its node has verified before it let it go


ENVELOPES: dict[str, Callable[[str, bytes], bytes]] = {
    "garbage": lambda _, message: bytes(len(message)),
    "empty": lambda _, message: b"",
    "cut short": lambda _, message: message[:70],
    "another signature": lambda _, message: flip(0)(message),
    "another ciphertext": lambda _, message: flip(-1)(message),
    "another header": lambda _, message: flip(64 + 20)(message),
}


@pytest.mark.parametrize("algorithm", [DKLS, ED25519], ids=str)
async def test_a_message_that_is_none_names_its_sender_and_bans_nobody(with_key, liars, algorithm):
    parties, key = await with_key(algorithm)
    for exchange in (0, 1):
        for what, envelope in ENVELOPES.items():
            lie = Lie(exchange, envelope=envelope)
            how = await hold_with_lie(parties, order_of("sign", key), liars, lie)
            assert how[HONEST] == ("bad_message", (LIAR,)), (exchange, what)
    lie = Lie(1, index=3)
    how = await hold_with_lie(parties, order_of("sign", key), liars, lie)
    assert how[HONEST] == ("bad_message", (LIAR,))
    assert await parties[HONEST].bans.all() == []


async def test_a_message_that_is_too_large_is_not_delivered(with_key, liars):
    parties, key = await with_key(ED25519)
    lie = Lie(1, envelope=lambda _, message: message + bytes(600_000))
    how = await hold_with_lie(parties, order_of("sign", key), liars, lie)
    assert how[HONEST] == ("peer_aborted", ())


async def test_a_hello_that_was_recorded_is_of_no_use_in_another_ceremony(with_key, liars):
    parties, key = await with_key(ED25519)
    recorded: list[bytes] = []

    def record(_: str, message: bytes) -> bytes:
        recorded.append(message)
        return message

    liars.lies(parties[LIAR], Lie(0, envelope=record))
    await parties.sign(key)
    lie = Lie(0, envelope=lambda *_: recorded[0])
    how = await hold_with_lie(parties, order_of("sign", key), liars, lie)
    assert how[HONEST] == ("bad_message", (LIAR,))


async def test_silence_at_any_exchange_ends_the_ceremony_at_its_deadline(with_key, liars):
    parties, key = await with_key(ED25519)
    for exchange, kind in ((0, "sign"), (1, "sign"), (3, "dkg"), (2, "refresh")):
        liars.lies(parties[LIAR], Lie(exchange, is_silent=True))
        order = order_of(kind, key).until(2)
        honest = [name for name in order.participants if name != LIAR]
        silent = asyncio.create_task(parties.hold(order, [LIAR]))
        outcomes = await parties.hold(order, honest)
        silent.cancel()
        for outcome in outcomes.values():
            assert ended(outcome) == ("peer_silent", (LIAR,)), exchange
            assert LIAR in (outcome.reason or "")
