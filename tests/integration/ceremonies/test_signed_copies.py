"""A copy that an application has signed: its signature decides about exactly both groups."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.applications import Applications
from custody.node.audit_records import parse_record
from custody.wire.algorithms import EDDSA_ED25519, Store
from custody.wire.dealings import Dealing
from custody.wire.jobs import Endpoint
from custody.wire.outcomes import DealtShares, Outcome, PreparedShare
from custody.wire.requests import CopyKey
from custody.wire.signed_bytes import DEALING_TYPE, DetachedSignature, SignedBytes, SigningKey
from custody.wire.signed_requests import payload_type
from custody.wire.statements import Confirmation
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.copying import dealing_of, statement_of
from tests.integration.ceremonies.orders import Key, Order
from tests.integration.ceremonies.parties import NAMES, Parties, ended
from tests.integration.ceremonies.test_made_for import APPLICATION, pin_application, wanted

ONE, TWO, _, _, _ = NAMES
OTHER = SigningKey(Ed25519PrivateKey.generate())
"""The signing key of another application."""


class SignedCopy:
    """A copy as an application has signed it; its signers have pinned the application."""

    def __init__(
        self,
        parties: Parties,
        key: Key,
        new: Key,
        application: SigningKey = APPLICATION,
        **changes: Any,
    ) -> None:
        self._parties, self.key, self.new = parties, key, new
        fields: dict[str, Any] = {
            "key_id": key.id,
            "store": Store.MPC,
            "external_id": "move-7",
            "expires_at": datetime.now(UTC) + timedelta(minutes=15),
            "signer_group": orders.SIGNER_GROUP,
            "threshold": new.threshold,
            "signers": list(new.signers),
            "held_by": orders.holders_of(key),
        }
        body = CopyKey(**fields | changes).model_dump_json(exclude_none=True).encode()
        made = application.sign(payload_type(Endpoint.COPIES), body)
        signature = DetachedSignature(signature=made.signature, signing_key_id=made.signing_key_id)
        self._request = {"request": body, "request_signature": signature}

    async def hold(self, order: Order, among: Sequence[str]) -> dict[str, Outcome]:
        return await self._parties.hold(order.with_job(**self._request), among)

    async def prepare(self) -> dict[str, Outcome]:
        return await self.hold(orders.prepare_copy(self.key, self.new), self.new.signers)

    async def deal(self) -> dict[str, Outcome]:
        statements = [statement_of(outcome) for outcome in (await self.prepare()).values()]
        order = orders.deal(self.key, self.new, self.key.quorum, statements)
        return await self.hold(order, self.key.quorum)

    async def take(self, dealt: Sequence[SignedBytes]) -> dict[str, Outcome]:
        return await self.hold(orders.copy_key(self.key, self.new, dealt), self.new.signers)


async def with_application(start: Any) -> tuple[Parties, Key, Key]:
    """Three signers with a key, 3 of 3, and a copy of it for two of them."""
    parties = await start(3)
    await pin_application(parties)
    key = await parties.make_key(Key(EDDSA_ED25519, 3, NAMES[:3]))
    return parties, key, orders.copy_of(key, 2, (ONE, TWO))


async def test_a_signed_request_decides_about_its_group_and_threshold(start):
    parties, key, new = await with_application(start)
    wanted = SignedCopy(parties, key, new)
    dealt = [dealing_of(outcome) for outcome in (await wanted.deal()).values()]
    for outcome in (await wanted.take(dealt)).values():
        assert isinstance(outcome.result, PreparedShare), outcome
        said = Confirmation.model_validate_json(outcome.result.confirmation.payload)
        assert said.made_for is not None
        assert said.made_for.application == APPLICATION.public_key
    records = await audited(parties, ONE)
    told = {"group": orders.SIGNER_GROUP, "threshold": "2", "signers": "signer-1, signer-2"}
    assert told.items() <= records["DealShares"].items()
    assert records["CopyKey"]["dealt_by"] == "signer-1, signer-2, signer-3"
    assert records["CopyKey"]["copied_from"] == str(key.id)


async def audited(parties: Parties, name: str) -> dict[str, dict[str, Any]]:
    """Return the details of the last record of each kind in a signer's chain."""
    rows = await parties[name].rows("SELECT record FROM audit ORDER BY sequence")
    records = [parse_record(row.record) for row in rows]
    return {record.kind: dict(record.details) for record in records}


async def test_new_signers_do_not_take_the_number_of_dealers_from_the_dealers(start):
    """Two of the three signers that are needed could otherwise make up a key."""
    parties, key, new = await with_application(start)
    wanted = SignedCopy(parties, key, new)
    dealt = [dealing_of(outcome) for outcome in (await wanted.deal()).values()]
    lies = []
    for signed in dealt[:2]:
        said = Dealing.model_validate_json(signed.payload)
        lie = said.model_copy(
            update={
                "dealt_by": said.dealt_by.model_copy(update={"threshold": 2}),
                "quorum": (1, 2),
            }
        )
        identity = parties.organisation.members[said.signer].identity
        lies.append(identity.sign(DEALING_TYPE, lie.model_dump_json().encode()))
    for outcome in (await wanted.take(lies)).values():
        assert ended(outcome) == ("bad_dealing", (ONE,))
        assert "old group" in (outcome.reason or "")


async def test_an_old_signer_deals_nothing_for_a_request_that_names_another_old_group(start):
    parties, key, new = await with_application(start)
    another = orders.holders_of(key).model_copy(update={"threshold": 2})
    for outcome in (await SignedCopy(parties, key, new, held_by=another).deal()).values():
        assert ended(outcome)[0] == "request_mismatch"


async def test_a_signed_request_that_leaves_a_group_open_is_denied(start):
    """By signers too that require no signature: they would attest that the application signed."""
    parties, key, new = await with_application(start)
    for name in ("threshold", "signers", "held_by"):
        left_out: dict[str, Any] = {name: None}
        for outcome in (await SignedCopy(parties, key, new, **left_out).prepare()).values():
            assert ended(outcome)[0] == "unbound_request"


async def pin_other(parties: Parties) -> None:
    for name in NAMES[:3]:
        await Applications(parties[name].pool).add("bank", OTHER.public_key)


@pytest.mark.parametrize("is_pinned", [True, False])
async def test_an_old_signer_deals_a_key_to_its_own_application_alone(start, is_pinned: bool):
    """Unless that application is not pinned any more: its key may have been replaced."""
    parties = await start(3)
    await pin_application(parties)
    await pin_other(parties)
    key = Key(EDDSA_ED25519, 3, NAMES[:3])
    order = wanted(key)
    key = await parties.take_into_use(key, order, await parties.prepare(order))
    new = orders.copy_of(key, 2, (ONE, TWO))
    if not is_pinned:
        for name in key.quorum:
            assert await Applications(parties[name].pool).remove("shop")
    for outcome in (await SignedCopy(parties, key, new, OTHER).deal()).values():
        if is_pinned:
            assert ended(outcome)[0] == "wrong_application"
        else:
            assert isinstance(outcome.result, DealtShares), outcome


async def test_an_old_signer_deals_a_key_that_no_application_has_asked_for(start):
    parties, key, new = await with_application(start)
    await pin_other(parties)
    for outcome in (await SignedCopy(parties, key, new, OTHER).deal()).values():
        assert isinstance(outcome.result, DealtShares), outcome
