"""What the signers of two groups believe of each other's statements when a key is copied."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from custody.node.errors import Denied, Failed
from custody.wire.algorithms import EDDSA_ED25519, Curve, Network, Protection, Scheme
from custody.wire.dealings import Dealing
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import ImportKeyStatement, Wrapping
from custody.wire.jobs import Job
from custody.wire.signed_bytes import DEALING_TYPE, IMPORT_KEY_TYPE, SignedBytes
from custody.wire.tickets import Protocol, Ticket
from mpc.handlers.copy_evidence import require_dealings, require_import_keys
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key
from tests.made_up_keys import made_up_key
from tests.unit.mpc.test_evidence import IDENTITIES, KEYS

ONE, TWO, THREE, FOUR = KEYS
NOW = datetime.now(UTC)
IMPORT_KEY = HybridPrivateKey.generate().public_key
APPLICATION = KEYS[TWO].public_key
PUBLIC_KEY = made_up_key(EDDSA_ED25519)
OLD = Key(EDDSA_ED25519, 2, (ONE, TWO, THREE), public_key=PUBLIC_KEY, shares=uuid4(), generation=3)
NEW = orders.copy_of(OLD, 2, (FOUR, ONE))


# What an old signer believes of the new ones


def import_key(node: str, by: str | None = None, **changes: Any) -> SignedBytes:
    """What a new signer states of its import key; ``by`` another signer's identity key."""
    fields: dict[str, Any] = {
        "import_id": NEW.id,
        "application": None,
        "scheme": Scheme.EDDSA,
        "curve": Curve.ED25519,
        "protection": Protection.MPC,
        "wrapping": Wrapping.HPKE,
        "import_key": IMPORT_KEY,
        "expires_at": NOW + timedelta(minutes=5),
        "group": orders.SIGNER_GROUP,
        "threshold": 2,
        "signers": list(NEW.signers),
        "node": node,
    }
    said = ImportKeyStatement(**fields | changes)
    return KEYS[by or node].sign(IMPORT_KEY_TYPE, said.model_dump_json().encode())


def require_keys(*evidence: SignedBytes, signed_by: bytes | None = None) -> list[str]:
    job = orders.deal(OLD, NEW, OLD.quorum, evidence).job
    assert job.holders is not None
    return list(require_import_keys(job, job.holders, signed_by, IDENTITIES, NOW))


def test_the_import_keys_of_all_new_signers_are_believed():
    assert require_keys(*map(import_key, NEW.signers)) == [FOUR, ONE]
    stated = import_key(FOUR, application=APPLICATION)
    assert require_keys(stated, import_key(ONE), signed_by=APPLICATION) == [FOUR, ONE]


WRONG_KEYS: dict[str, Sequence[SignedBytes]] = {
    "none": [],
    "one is missing": [import_key(FOUR)],
    "one twice": [import_key(FOUR), import_key(FOUR), import_key(ONE)],
    "of an old signer": [
        import_key(FOUR), import_key(ONE), import_key(TWO, signers=[FOUR, TWO]),
    ],
    "under another signer's identity key": [import_key(FOUR), import_key(ONE, by=TWO)],
    "for another import": [import_key(FOUR, import_id=uuid4()), import_key(ONE)],
    "for another group": [import_key(FOUR, group="another"), import_key(ONE)],
    "for another threshold": [
        import_key(FOUR, threshold=3, signers=[FOUR, ONE, TWO]), import_key(ONE),
    ],
    "for other signers": [import_key(FOUR, signers=[FOUR, TWO]), import_key(ONE)],
    "for signers in another order": [import_key(FOUR, signers=[ONE, FOUR]), import_key(ONE)],
    "for another algorithm": [
        import_key(FOUR, scheme=Scheme.ECDSA, curve=Curve.SECP256K1), import_key(ONE),
    ],
    "a statement of another kind": [
        import_key(FOUR), KEYS[ONE].sign(DEALING_TYPE, import_key(ONE).payload),
    ],
    "malformed": [import_key(FOUR), KEYS[ONE].sign(IMPORT_KEY_TYPE, b"{}")],
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_KEYS)
def test_other_import_keys_are_not_believed(wrong: str):
    with pytest.raises(Denied) as refused:
        require_keys(*WRONG_KEYS[wrong])
    assert refused.value.code == "bad_evidence"


def test_an_import_key_for_another_application_is_not_believed():
    with pytest.raises(Denied, match="for another application"):
        require_keys(
            import_key(FOUR, application=APPLICATION),
            import_key(ONE),
            signed_by=KEYS[THREE].public_key,
        )


def test_an_old_signer_that_has_not_pinned_the_application_deals_to_new_ones_that_have():
    stated = [import_key(name, application=APPLICATION) for name in NEW.signers]
    assert require_keys(*stated, signed_by=None) == [FOUR, ONE]


def test_a_new_signer_that_is_not_pinned_is_not_believed():
    job = orders.deal(OLD, NEW, OLD.quorum, [import_key(name) for name in NEW.signers]).job
    assert job.holders is not None
    pinned = {name: key for name, key in IDENTITIES.items() if name != FOUR}
    with pytest.raises(Denied, match="not pinned"):
        require_import_keys(job, job.holders, None, pinned, NOW)


def test_an_import_key_that_has_expired_is_asked_for_again():
    with pytest.raises(Failed) as failed:
        require_keys(import_key(FOUR, expires_at=NOW), import_key(ONE))
    assert (failed.value.code, failed.value.transient) == ("no_import_key", True)


# What a new signer believes of the old ones


def dealing(signer: str, by: str | None = None, **changes: Any) -> SignedBytes:
    """What a dealer states; its sub-shares are rubbish, which this check does not open."""
    fields: dict[str, Any] = {
        "key_id": OLD.id,
        "copy_id": NEW.id,
        "share_set_id": OLD.shares,
        "generation": OLD.generation,
        "protocol": Protocol.FROST_ED25519,
        "public_key": PUBLIC_KEY,
        "chain_code": None,
        "network": None,
        "imported": False,
        "dealt_by": {"group": "treasury", "threshold": 2, "signers": OLD.signers},
        "verifying_shares": (b"\x01", b"\x02", b"\x03"),
        "quorum": (1, 2),
        "holders": {"group": orders.SIGNER_GROUP, "threshold": 2, "signers": NEW.signers},
        "signer": signer,
        "index": OLD.signers.index(signer) + 1,
        "commitments": (b"\x04", b"\x05"),
        "sealed": dict.fromkeys(NEW.signers, b"rubbish"),
    }
    said = Dealing(**fields | changes)
    return KEYS[by or signer].sign(DEALING_TYPE, said.model_dump_json().encode())


def copy_order(evidence: Sequence[SignedBytes]) -> tuple[Job, Ticket]:
    order = orders.copy_key(OLD, NEW, evidence)
    assert order.ticket is not None
    return order.job, order.ticket


def require(*evidence: SignedBytes) -> list[str]:
    return [each.signer for each in require_dealings(*copy_order(evidence), IDENTITIES)]


def test_the_dealings_of_a_quorum_are_believed():
    assert require(dealing(ONE), dealing(TWO)) == [ONE, TWO]
    others: dict[str, Any] = {"quorum": (1, 3)}
    assert require(dealing(ONE, **others), dealing(THREE, **others)) == [ONE, THREE]


OTHER_FACTS: dict[str, dict[str, Any]] = {
    "key": {"key_id": uuid4()},
    "copy": {"copy_id": uuid4()},
    "network": {"network": Network.ETHEREUM},
    "protocol": {"protocol": Protocol.FROST_SECP256K1_TR, "public_key": bytes([2]) * 32},
    "public key": {"public_key": made_up_key(EDDSA_ED25519, 7)},
    "group": {"holders": {"group": "other", "threshold": 2, "signers": NEW.signers}},
    "threshold": {
        "holders": {"group": orders.SIGNER_GROUP, "threshold": 3, "signers": (FOUR, ONE, TWO)},
        "commitments": (b"\x04", b"\x05", b"\x06"),
        "sealed": dict.fromkeys((FOUR, ONE, TWO), b"rubbish"),
    },
    "order of signers": {
        "holders": {"group": orders.SIGNER_GROUP, "threshold": 2, "signers": NEW.signers[::-1]}
    },
}


@pytest.mark.parametrize("fact", OTHER_FACTS)
@pytest.mark.parametrize("liars", [(TWO,), (ONE, TWO)], ids=["one", "all"])
def test_dealers_whose_dealings_are_for_something_else_are_named(fact: str, liars: tuple[str, ...]):
    evidence = [dealing(name, **OTHER_FACTS[fact] if name in liars else {}) for name in (ONE, TWO)]
    with pytest.raises(Failed) as failed:
        require(*evidence)
    assert failed.value.code == "bad_dealing"
    assert failed.value.culprits == liars[:1]  # the first one is enough
    assert failed.value.transient


OF_THE_OLD_SET: dict[str, dict[str, Any]] = {
    "share set": {"share_set_id": uuid4()},
    "generation": {"generation": 4},
    "chain code": {"chain_code": bytes(32)},
    "imported": {"imported": True},
    "group": {"dealt_by": {"group": "another", "threshold": 2, "signers": OLD.signers}},
    "verifying shares": {"verifying_shares": (b"\x01", b"\x03", b"\x02")},
    "quorum": {"quorum": (2, 3)},
}


@pytest.mark.parametrize("fact", OF_THE_OLD_SET)
def test_of_dealers_that_contradict_each_other_none_is_believed_and_none_is_named(fact: str):
    with pytest.raises(Failed) as failed:
        require(dealing(ONE), dealing(TWO, **OF_THE_OLD_SET[fact]))
    assert (failed.value.code, tuple(failed.value.culprits)) == ("bad_dealing", ())


WRONG_DEALINGS: dict[str, Callable[[], Sequence[SignedBytes]]] = {
    "none": list,
    "one is missing": lambda: [dealing(ONE)],
    "one twice": lambda: [dealing(ONE), dealing(ONE)],
    "another order": lambda: [dealing(TWO), dealing(ONE)],
    "one more": lambda: [dealing(ONE), dealing(TWO), dealing(TWO)],
    "under another identity key": lambda: [dealing(ONE), dealing(TWO, by=THREE)],
    "another kind": lambda: [
        dealing(ONE), KEYS[TWO].sign(IMPORT_KEY_TYPE, dealing(TWO).payload),
    ],
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_DEALINGS)
def test_other_statements_than_one_of_each_dealer_are_not_believed(wrong: str):
    with pytest.raises(Denied) as refused:
        require(*WRONG_DEALINGS[wrong]())
    assert refused.value.code == "bad_evidence"


def test_a_dealer_that_is_not_pinned_is_not_believed():
    order = copy_order([dealing(ONE), dealing(TWO)])
    pinned = {name: key for name, key in IDENTITIES.items() if name != TWO}
    with pytest.raises(Denied, match="not pinned"):
        require_dealings(*order, pinned)


def test_a_dealer_of_a_malformed_dealing_is_named():
    with pytest.raises(Failed) as failed:
        require(dealing(ONE), KEYS[TWO].sign(DEALING_TYPE, b"{}"))
    assert (failed.value.code, tuple(failed.value.culprits)) == ("bad_dealing", (TWO,))
