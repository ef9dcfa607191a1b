"""A signer whose database is restored from an older backup, with the state directory it had.

The test carries questions and answers, as the control plane does. Databases, shares, ceremonies
and the files of the state directory are real.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.control_plane_client import ControlPlaneClient
from custody.node.errors import Failed
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Algorithm
from custody.wire.ban_questions import BanAnswer, BanQuestion
from custody.wire.inventory import Holding
from custody.wire.node_api import BanAnswerRequest, LeftPair
from custody.wire.outcomes import NothingMade, OutcomeStatus
from custody.wire.signed_bytes import BAN_QUESTION_TYPE, SignedBytes
from mpc.bans import in_flight
from mpc.held_keys import SignerKeys
from mpc.restored import watch
from mpc.restored.answering import Answering
from mpc.restored.asking import Asking
from mpc.restored.marks import Marks
from mpc.restored.needed_repairs import count_uncertain, needed_repairs
from mpc.restored.watch import restore_state
from mpc.shares import share_queries
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.conftest import Templates
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import (
    NAMES,
    Organisation,
    Parties,
    Party,
    abandonment,
    ended,
    promise_of,
    running,
    signature_of,
    wanted,
)

ONE, TWO, THREE = NAMES[:3]
NO_CLIENT = cast(ControlPlaneClient, None)


@dataclass
class Site:
    """Three signers with a key, their state directories, and a backup of signer-1's database."""

    organisation: Organisation
    templates: Templates
    made: dict[str, str]
    databases: dict[str, str]
    key: Key
    folder: Path

    def states(self) -> dict[str, Path]:
        return {name: self.folder / name for name in self.databases}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Parties]:
        async with running(self.organisation, self.databases, states=self.states()) as parties:
            yield parties

    async def keep_marks(self) -> None:
        """Give each signer the state directory that it would have."""
        for name, url in self.databases.items():
            async with Pool(url, 1, "test") as pool:
                row = await restore_state(pool)
                assert row is not None
                Marks(self.folder / name).write(row.mark)

    async def restore_all_of(self, *names: str) -> None:
        """Work a while with the databases, then restore those of these signers."""
        async with self.running():
            pass
        for name in names:
            self.restore(name)

    def restore(self, name: str = ONE) -> None:
        """The database of a signer as it was when the key was new."""
        self.databases |= self.templates.copies({name: self.made[name]})


@pytest.fixture
def site(templates: Templates, organisation: Organisation, tmp_path: Path):
    """Makes the site of a key of an algorithm."""
    sites: list[Site] = []

    async def make(algorithm: Algorithm) -> Site:
        wanted_key = Key(algorithm, 2, NAMES[:3])
        key, made = templates.get(wanted_key, 3, (algorithm, 2, 3, None))
        assert key is not None
        here = Site(organisation, templates, made, templates.copies(made), key, tmp_path)
        sites.append(here)
        await here.keep_marks()
        return here

    yield make
    for each in sites:
        templates.drop(each.databases)


@pytest.fixture
def no_wait(monkeypatch):
    """Tickets of before the restore are told apart without waiting for half a minute."""
    monkeypatch.setattr(watch, "LARGEST_OFFSET", timedelta())
    monkeypatch.setattr("mpc.ceremonies.tickets.LARGEST_OFFSET", timedelta())


def asking(parties: Parties, name: str = ONE) -> Asking:
    party = parties[name]
    identity = parties.organisation.members[name].identity
    return Asking(party.pool, name, identity, NO_CLIENT, party.restore_watch, party.bans)


def answering_of(
    parties: Parties, name: str, client: Any, problem: Callable[[], str | None]
) -> Answering:
    party, identity = parties[name], parties.organisation.members[name].identity
    return Answering(party.pool, name, identity, client, party.restore_watch, problem)


async def answers(
    parties: Parties, names: Sequence[str], asker: str = ONE, nonce: bytes | None = None
) -> list[SignedBytes]:
    nonce = nonce_of(parties, asker) if nonce is None else nonce
    asked = BanQuestion(signer=asker, nonce=nonce, at=datetime.now(UTC))
    said = []
    for name in names:
        party = parties[name]
        answering = answering_of(parties, name, NO_CLIENT, party.restore_watch.problem)
        is_asking = party.restore_watch.problem() is not None
        said += await answering.statements(asked, is_asking)
    return said


async def take_in(
    parties: Parties,
    said: Sequence[SignedBytes],
    kept: Sequence[SignedBytes] = (),
    left: Sequence[LeftPair] = (),
) -> None:
    await asking(parties).take_in(nonce_of(parties), said, kept, left)


def nonce_of(parties: Parties, name: str = ONE) -> bytes:
    question = parties[name].restore_watch.question
    assert question is not None
    assert question.nonce is not None
    return question.nonce


async def ask_all(parties: Parties) -> None:
    await take_in(parties, await answers(parties, [TWO, THREE]))
    assert parties[ONE].restore_watch.problem() is None


async def test_a_restored_signer_signs_nothing_before_it_has_learned_the_forgotten_ban(
    site, no_wait
):
    here = await site(ECDSA_SECP256K1)
    key = here.key
    async with here.running() as parties:
        await parties.sign(key, [ONE, TWO])  # no restore was noticed: nothing is asked
        await parties[ONE].bans.ban(key.id, TWO, "it lied", None)
        # signer-3 hears of the ban in the hello
        await parties.sign(key, [ONE, THREE])
    here.restore()
    async with here.running() as parties:
        one = parties[ONE]
        assert await one.bans.all() == []
        order = orders.sign(key, [ONE, TWO], wanted(key))
        outcomes = await parties.hold(order)
        assert ended(outcomes[ONE])[0] == "asking_peers"
        assert "signer-2, signer-3" in str(await waiting(one))

        await take_in(parties, await answers(parties, [TWO]))  # the banned one says nothing
        assert "for the answers of signer-3" in str(await waiting(one))
        with pytest.raises(Failed, match="asking_peers"):
            one.restore_watch.require_whole()

        await take_in(parties, await answers(parties, [THREE]))
        assert one.restore_watch.problem() is not None  # signer-2's answer is held back again
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert await waiting(one) is None
        assert [(each.signer, each.banned) for each in await one.bans.all()] == [(ONE, TWO)]
        outcomes = await parties.hold(orders.sign(key, [ONE, TWO], wanted(key)))
        assert ended(outcomes[ONE])[0] == "banned_counterparty"
        await parties.sign(key, [ONE, THREE])
    async with here.running() as parties:  # a restart asks nobody again
        assert parties[ONE].restore_watch.problem() is None


async def test_an_old_backup_without_pins_waits_for_the_signers_of_its_shares(site, no_wait):
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        pins = await one.rows("DELETE FROM peers RETURNING signer, identity_public_key")
        said = await answers(parties, [TWO, THREE])
        await take_in(parties, said)
        assert "for the answers of signer-2, signer-3. Pin signer-2, signer-3 (mpc-signer " in str(
            await waiting(one)
        )
        # also if the operator does without all of them, or if not even a share names a peer
        changes = AuditedChanges(one.pool, ONE)
        await watch.do_without(changes, [TWO, THREE], "ana", "no pins")
        await take_in(parties, said)
        assert "until a peer is pinned (mpc-signer peers add" in str(await waiting(one))
        await one.rows("DELETE FROM restore_answers")
        await one.rows("DELETE FROM shares")
        await take_in(parties, said)
        assert "until a peer is pinned (mpc-signer peers add" in str(await waiting(one))
        for pin in pins:
            await one.peers.add(pin.signer, pin.identity_public_key)
        await take_in(parties, said)
        assert await waiting(one) is None


async def test_signers_that_an_answer_names_are_asked_as_well(site, no_wait):
    """The key is younger than the backup, which pins one of its signers alone."""
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        await one.rows("DELETE FROM shares")
        await one.peers.remove(THREE)
        await take_in(parties, await answers(parties, [TWO, THREE]))
        said = str(await waiting(one))
        assert "for the answers of signer-3. Pin signer-3 (mpc-signer peers add" in said
        assert "removed on purpose, do not add it again: do without that signer" in said
        told = {each.signer: each for each in await watch.peers_answers(one.pool, ONE)}
        assert (told[THREE].named_by, told[THREE].is_pinned) == ([TWO], False)
        # the operator does without the answer that names signer-3
        changes = AuditedChanges(one.pool, ONE)
        assert await watch.do_without(changes, [TWO], "ana", "it lies") == (TWO,)
        await take_in(parties, await answers(parties, [TWO]))
        assert await waiting(one) is None


async def waiting(party: Party) -> str | None:
    await party.restore_watch.waits_for()
    return party.restore_watch.problem()


async def test_answers_to_others_of_others_or_to_another_question_do_not_count(site, no_wait):
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE, TWO)
    async with here.running() as parties:
        for_two = await answers(parties, [THREE], asker=TWO)
        await take_in(parties, for_two)
        of_one = await answers(parties, [ONE])
        await take_in(parties, of_one)
        good = await answers(parties, [THREE])
        await parties[ONE].restore_watch.notice("once more")
        await take_in(parties, good)  # the question of before
        assert "signer-2, signer-3" in str(await waiting(parties[ONE]))
        # signer-2 was restored itself: its answer may lack the same bans
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert "for the answers of signer-2; signer-2 was res" in str(await waiting(parties[ONE]))


async def test_what_the_control_plane_kept_counts_too(site, no_wait):
    """A ban that this signer told to no peer, and a pair that it had left in flight."""
    here = await site(ECDSA_SECP256K1)
    key = here.key
    async with here.running() as parties:
        await parties[ONE].bans.ban(key.id, TWO, "it lied", None)
        kept = await parties[ONE].bans.own(10)
    here.restore()
    async with here.running() as parties:
        left = [LeftPair(key_id=key.id, signer=THREE, since=datetime.now(UTC))]
        said, nonce = await answers(parties, [TWO, THREE]), nonce_of(parties)
        for _ in range(2):  # the answer of the control plane may come twice
            await asking(parties).take_in(nonce, said, kept, left)
        codes = {}
        for other in (TWO, THREE):
            outcomes = await parties.hold(orders.sign(key, [ONE, other], wanted(key)))
            codes[other] = ended(outcomes[ONE])[0]
        assert codes == {TWO: "banned_counterparty", THREE: "left_in_flight"}


async def test_a_pair_that_was_cleared_or_is_of_a_stranger_is_not_barred_again(site):
    here = await site(EDDSA_ED25519)
    key = here.key
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        pairs = [
            LeftPair(key_id=key.id, signer=name, since=datetime.now(UTC))
            for name in (THREE, "nobody-here")
        ]
        said = await answers(parties, [TWO])
        await take_in(parties, said, left=pairs)
        changes = AuditedChanges(one.pool, ONE)
        assert await in_flight.clear(
            changes, await in_flight.find_left(one.pool, key.id, THREE), "ana", "looked at it"
        )
        await take_in(parties, said, left=pairs)
        assert await one.rows("SELECT signer FROM in_flight") == []


async def test_a_repaired_share_of_a_peer_names_its_set(site, no_wait):
    """Else a signer that is repaired and one that is restored wait for each other."""
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        await parties[TWO].rows("UPDATE shares SET state = 'repaired' RETURNING key_id")
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert await count_uncertain(parties[ONE].pool) == 0


class _ControlPlane:
    """Keeps the answers that a signer sends."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    async def ban_answer(self, request: BanAnswerRequest) -> None:
        answer = BanAnswer.model_validate_json(request.answer.payload)
        self.said.append(answer.is_asking)


async def test_a_peer_that_may_be_set_back_itself_says_so_and_answers_again(site):
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        control_plane, problems = _ControlPlane(), ["not compared with the kept head yet"]
        answering = answering_of(
            parties, TWO, control_plane, lambda: problems[0] if problems else None
        )
        asked = BanQuestion(signer=ONE, nonce=nonce_of(parties), at=datetime.now(UTC))
        identity = parties.organisation.members[ONE].identity
        signed = identity.sign(BAN_QUESTION_TYPE, asked.model_dump_json().encode())
        for _ in range(2):
            await answering.answer([signed])
        problems.clear()
        for _ in range(2):
            await answering.answer([signed])
        assert control_plane.said == [True, False]


async def test_a_used_ticket_is_not_used_a_second_time(site):
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        order = orders.sign(key, [ONE, TWO], wanted(key))
        for outcome in (await parties.hold(order)).values():
            assert outcome.status is OutcomeStatus.DONE
    here.restore()
    async with here.running() as parties:
        one = parties[ONE]
        assert (
            await one.rows("SELECT FROM used_tickets WHERE ceremony = :id", id=order.ceremony) == []
        )
        await take_in(parties, await answers(parties, [TWO, THREE]))
        # the answers are there, but tickets of before would still count
        assert "until earlier tickets do not count" in str(await waiting(one))
        with_old_ticket(one)
        again = await parties.hold(order.until(30), among=[ONE])
        assert ended(again[ONE])[0] == "ticket_forgotten"


def with_old_ticket(party: Party) -> None:
    """As if the wait were over: only the ticket's date of issue stands against it."""
    party._loop._require_ready = lambda: None


async def test_the_same_ticket_gives_other_nonces(site, no_wait):
    """If a ticket could be used again, nothing that depends on a secret would repeat."""
    here = await site(ECDSA_SECP256K1)
    key = here.key
    made = []
    async with here.running() as parties:
        order = orders.sign(key, [ONE, TWO], wanted(key))
        for _ in range(2):
            # a delivery server lets nobody meet twice: its own memory stands in the way as well
            outcomes = await parties.hold(order.with_ticket(meeting=uuid4()))
            made.append(signature_of(outcomes[ONE]).signature.r)
            for name in (ONE, TWO):
                await parties[name].rows("DELETE FROM used_tickets")
                await parties[name].rows("DELETE FROM journal")
    assert made[0] != made[1]


async def test_an_older_share_set_is_erased_and_needs_a_repair(site, no_wait):
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        new = await parties.refresh(key)
    here.restore()
    async with here.running() as parties:
        one = parties[ONE]
        assert await one.states(key) == ["active"]
        await take_in(parties, await answers(parties, [TWO]))
        assert await one.states(key) == ["active"]  # one peer alone proves nothing
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert await one.states(key) == ["retired"]
        assert await one.rows("SELECT FROM shares WHERE ciphertext IS NOT NULL") == []
        [needed] = await needed_repairs(one.pool)
        assert (needed.key_id, needed.ceremony, needed.generation) == (key.id, new.shares, 1)
        assert needed.told_by == [TWO, THREE]
        # neither with the old set nor with the new one
        for each in (key, new):
            outcomes = await parties.hold(orders.sign(each, [ONE, TWO], wanted(each)), among=[ONE])
            assert ended(outcomes[ONE])[0] == "no_share"
        await parties.sign(new, [TWO, THREE])

        for helper in (TWO, THREE):
            await approve(parties[helper], key)
        for outcome in (await parties.hold(orders.repair(new, ONE, [TWO, THREE]))).values():
            assert outcome.status is OutcomeStatus.DONE, outcome
        assert await needed_repairs(one.pool) == []
        latest = await parties.refresh(new)
        await parties.sign(latest, [ONE, TWO])


async def test_a_restored_share_signs_once_t_signers_have_named_its_set(site, no_wait):
    """Signer-3 has lost its share, so one signer alone names the set."""
    here = await site(EDDSA_ED25519)
    key = here.key
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        await parties[THREE].rows("DELETE FROM shares")
        await ask_all(parties)
        await require_uncertain(parties, key)
        # it helps nobody's set to be named, and nobody's share to be repaired
        [answer] = await answers(parties, [ONE], asker=ONE, nonce=bytes(32))
        assert BanAnswer.model_validate_json(answer.payload).sets == ()
        for helper in (ONE, TWO):
            await approve(parties[helper], key, THREE)
        outcomes = await parties.hold(orders.repair(key, THREE, [ONE, TWO]), [ONE])
        assert ended(outcomes[ONE])[0] == "set_uncertain"

        # the operator has the signers asked again, and decides about signer-3
        changes = AuditedChanges(one.pool, ONE)
        assert await watch.ask_again(changes, "ana", "signer-3 lost its share")
        assert not await watch.ask_again(changes, "ana", "twice")
        await one.restore_watch.renew()
        await watch.do_without(changes, [THREE], "ana", "it has no share")
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert await count_uncertain(one.pool) == 0
        outcomes = await parties.hold(orders.sign(key, [ONE, TWO], wanted(key)))
        signature_of(outcomes[ONE])


@pytest.mark.parametrize(
    "forged",
    [
        "generation = generation + 7",
        "threshold = 3",
        "signers = ARRAY['signer-1', 'signer-3', 'signer-2']::varchar[]",
    ],
)
async def test_a_share_that_differs_from_the_named_set_stays_uncertain(site, no_wait, forged):
    """A forged share copy has the real key id and ceremony."""
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        await one.rows(f"UPDATE shares SET {forged}")
        await ask_all(parties)
        assert (await waiting(one), await count_uncertain(one.pool)) == (None, 1)


async def require_uncertain(parties: Parties, key: Key) -> None:
    """Have signer-1 neither use its share of a set nor state anything about the set."""
    one = parties[ONE]
    assert key.shares is not None
    assert await count_uncertain(one.pool) == 1
    for order in (
        orders.sign(key, [ONE, TWO], wanted(key)),
        orders.refresh(key),
        orders.abandon(key, key.shares),
        orders.promise(key, []),
        orders.activate(key, []),
    ):
        [outcome] = (await parties.hold(order, [ONE])).values()
        assert (outcome.code, outcome.transient, outcome.result) == ("set_uncertain", True, None)
    identity = parties.organisation.members[ONE].identity
    [[held]] = [page async for page in SignerKeys(one.pool, ONE, identity).pages(10)]
    assert (held.holding, held.attestation) == (Holding.UNCERTAIN, None)


async def test_a_restored_share_of_an_abandoned_set_is_never_used(site, templates, no_wait):
    """The signer abandoned the set, and was lost. A share copy of the set was left."""
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        order = orders.refresh(key)
        new = parties.confirmed_key(key, order, await parties.prepare(order))
        stored = await parties[ONE].shares.find(key.id, new.shares)
        share = await parties[ONE].shares.open(stored)
        order = orders.abandon(new, new.shares)
        for outcome in (await parties.hold(order, [ONE, TWO, THREE])).values():
            abandonment(outcome)
    _, empty = templates.get(None, 3, 3)
    here.databases |= templates.copies({ONE: empty[ONE]})
    async with here.running() as parties:
        one = parties[ONE]
        row = await one.shares.restored_row(stored, share)
        await one.rows(row.sql, **row.alone)
    async with here.running() as parties:
        one = parties[ONE]
        await ask_all(parties)
        await require_uncertain(parties, new)
        [needed] = await needed_repairs(one.pool)
        assert (needed.ceremony, needed.told_by) == (key.shares, [TWO, THREE])

        for helper in (TWO, THREE):
            await approve(parties[helper], key)
        for outcome in (await parties.hold(orders.repair(key, ONE, [TWO, THREE]))).values():
            assert outcome.status is OutcomeStatus.DONE, outcome
        assert await one.states(key) == ["repaired", "retired"]
        assert (await needed_repairs(one.pool), await count_uncertain(one.pool)) == ([], 0)
        [outcome] = (await parties.hold(orders.abandon(new, new.shares), [ONE])).values()
        assert outcome.result == NothingMade()
        await parties.sign(await parties.refresh(key), [ONE, TWO])


async def test_after_the_loss_of_all_databases_the_operators_decide(site, no_wait):
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE, TWO, THREE)
    async with here.running() as parties:
        one = parties[ONE]
        changes = AuditedChanges(one.pool, ONE)
        await watch.do_without(changes, [TWO, THREE], "ana", "all were restored")
        await take_in(parties, await answers(parties, [TWO, THREE]))
        assert (await waiting(one), await count_uncertain(one.pool)) == (None, 0)
        # a second signer has the first one to ask
        two = parties[TWO]
        said = await answers(parties, [ONE, THREE], asker=TWO)
        await asking(parties, TWO).take_in(nonce_of(parties, TWO), said, [], [])
        problem = two.restore_watch.problem()
        assert f"{THREE} was restored too, and waits itself" in problem
        assert f"for the answers of {THREE};" in problem
        await watch.do_without(AuditedChanges(two.pool, TWO), [THREE], "bo", "all restored")
        said = await answers(parties, [ONE, THREE], asker=TWO)
        await asking(parties, TWO).take_in(nonce_of(parties, TWO), said, [], [])
        assert (await waiting(two), await count_uncertain(two.pool)) == (None, 0)
        outcomes = await parties.hold(orders.sign(here.key, [ONE, TWO], wanted(here.key)))
        signature_of(outcomes[ONE])


async def approve(party: Party, key: Key, target: str = ONE) -> None:
    await party.rows(
        "INSERT INTO repair_approvals (key_id, signer, operator, reason, expires_at)"
        " VALUES (:key_id, :signer, 'ana', 'restored', now() + interval '1 hour')",
        key_id=key.id,
        signer=target,
    )


async def test_a_restored_signer_states_nothing_about_sets_that_it_may_have_promised(site, no_wait):
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        order = orders.refresh(key)
        confirmed = await parties.prepare(order)
        new = parties.confirmed_key(key, order, confirmed)
        await parties.promise(new, confirmed)  # the promise leaves; then the disk is lost
    here.restore()
    async with here.running() as parties:
        await ask_all(parties)
        [outcome] = (await parties.hold(orders.abandon(new, new.shares), [ONE])).values()
        assert outcome.result == NothingMade()  # no abandonment beside the promise
        # the same of a set that never was, or that others made without this signer
        [outcome] = (await parties.hold(orders.abandon(key, uuid4()), [ONE])).values()
        assert outcome.result == NothingMade()
        # but the other signers still say that they keep the set
        for name in (TWO, THREE):
            [outcome] = (await parties.hold(orders.abandon(new, new.shares), [name])).values()
            promise_of(outcome)


async def test_a_pending_set_of_the_backup_is_neither_promised_nor_abandoned(
    site, no_wait, postgres, monkeypatch
):
    """The backup was made while the set was confirmed. Then the signer abandoned the set."""
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        order = orders.refresh(key)
        confirmed = await parties.prepare(order)
        new = parties.confirmed_key(key, order, confirmed)
        await parties.prove(new)
    backup = here.databases[ONE].rpartition("/")[2]
    name = f"backup_{uuid4().hex[:8]}"
    live = postgres.create_database(name, backup)
    here.databases[ONE] = live
    async with here.running() as parties:
        [outcome] = (await parties.hold(orders.abandon(new, new.shares), [ONE])).values()
        abandonment(outcome)
    here.databases[ONE] = postgres.url(backup)  # what was there before
    async with here.running() as parties:
        one = parties[ONE]
        await ask_all(parties)
        for again in (orders.promise(new, confirmed), orders.abandon(new, new.shares)):
            [outcome] = (await parties.hold(again, [ONE])).values()
            assert ended(outcome)[0] == "set_uncertain"
            assert "If one has the set active or repaired, certain or not" in str(outcome.reason)
        assert await one.states(key) == ["active", "confirmed"]
        # the operators have compared all signers
        place = {"key_id": key.id, "ceremony": new.shares}
        await one.rows(share_queries.DISCARD_BY_HAND, **place)
        [outcome] = (await parties.hold(orders.promise(new, confirmed), [ONE])).values()
        assert ended(outcome)[0] == "no_share"
    postgres.drop_database(name)


async def test_a_pending_set_that_the_peers_use_is_taken_into_use(site, no_wait, postgres):
    here = await site(EDDSA_ED25519)
    key = here.key
    async with here.running() as parties:
        order = orders.refresh(key)
        confirmed = await parties.prepare(order)
    backup = here.databases[ONE].rpartition("/")[2]
    name = f"backup_{uuid4().hex[:8]}"
    here.databases[ONE] = postgres.create_database(name, backup)
    async with here.running() as parties:
        new = await parties.take_into_use(key, order, confirmed)
    here.databases[ONE] = postgres.url(backup)
    async with here.running() as parties:
        await ask_all(parties)
        assert await parties[ONE].states(key) == ["retired", "active"]
        await parties.sign(new, [ONE, THREE])
    postgres.drop_database(name)


async def test_a_new_state_directory_or_an_empty_database_asks_too(site, templates, no_wait):
    here = await site(EDDSA_ED25519)
    async with here.running():
        pass
    Marks(here.folder / ONE)._file.unlink()  # a replacement host
    _, empty = templates.get(None, 3, 3)
    here.databases |= templates.copies({TWO: empty[TWO]})  # signer-2's database is lost
    async with here.running() as parties:
        assert "no mark" in str(parties[ONE].restore_watch.problem())
        assert "is not the one of the state directory" in str(parties[TWO].restore_watch.problem())
        assert parties[THREE].restore_watch.problem() is None


async def test_a_key_that_a_new_database_does_not_know_is_repaired_after_asking(
    site, templates, no_wait
):
    """The state directory is lost as well, so nothing here tells the new signer from another."""
    here = await site(EDDSA_ED25519)
    key = here.key
    _, empty = templates.get(None, 3, 3)
    here.databases |= templates.copies({ONE: empty[ONE]})
    await here.keep_marks()
    async with here.running() as parties:
        assert parties[ONE].restore_watch.problem() is None
        for helper in (TWO, THREE):
            await approve(parties[helper], key)
        outcomes = await parties.hold(orders.repair(key, ONE, [TWO, THREE]), [ONE])
        assert ended(outcomes[ONE])[0] == "asking_peers"
        await ask_all(parties)
        for outcome in (await parties.hold(orders.repair(key, ONE, [TWO, THREE]))).values():
            assert outcome.status is OutcomeStatus.DONE, outcome


async def test_the_operator_may_do_without_a_peer_that_is_gone(site, no_wait):
    here = await site(EDDSA_ED25519)
    await here.restore_all_of(ONE)
    async with here.running() as parties:
        one = parties[ONE]
        changes = AuditedChanges(one.pool, ONE)
        assert await watch.do_without(changes, [THREE], "ana", "gone for good") == (THREE,)
        await take_in(parties, await answers(parties, [TWO]))
        assert one.restore_watch.problem() is None
        told = {each.signer: each for each in await watch.peers_answers(one.pool, ONE)}
        assert (told[THREE].operator, told[TWO].operator) == ("ana", None)
        records = [bytes(row.record) for row in await one.rows("SELECT record FROM audit")]
        for kind in ("NoticedRestore", "DoneWithoutPeer", "AskedPeers"):
            assert any(f'"kind":"{kind}"'.encode() in record for record in records), kind


async def test_a_ceremony_stops_when_its_signer_notices_a_restore(site, no_wait):
    """The database is set back under the running process, as by a promoted standby."""
    here = await site(EDDSA_ED25519)
    async with here.running() as parties:
        one = parties[ONE]
        await one.rows("UPDATE restore_watch SET mark = :mark", mark=uuid4())
        await one.restore_watch.renew()
        outcomes = await parties.hold(orders.sign(here.key, [ONE, TWO], wanted(here.key)), [ONE])
        assert ended(outcomes[ONE])[0] == "asking_peers"
