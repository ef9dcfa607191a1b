"""What the signers of the two groups of a copy believe of each other. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from custody.node.errors import Denied, Failed
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.dealings import Dealing
from custody.wire.hybrid_keys import MLKEM_BYTES, PUBLIC_KEY_BYTES, HybridPrivateKey
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference
from custody.wire.requests import CopyKey
from custody.wire.signed_bytes import DEALING_TYPE
from custody.wire.tickets import CeremonyKind, Protocol, Ticket
from mpc.handlers.copy_evidence import require_dealings
from mpc.handlers.dealing import require_old_group, require_threshold, seal_to
from mpc.shares.stored_share import ShareState, StoredShare
from tests.made_up_keys import made_up_key
from tests.unit.mpc.test_tickets import ticket_for
from tests.unit.wire.example_keys import seeded

NOW = datetime.now(UTC)
KEY_ID, COPY_ID = uuid4(), uuid4()
OLD = KeyHolders(group="treasury", threshold=3, signers=("s1", "s2", "s3", "s4", "s5"))
NEW = KeyHolders(group="zurich", threshold=2, signers=("s5", "s6", "s7"))
LIARS = KeyHolders(group="treasury", threshold=2, signers=("s1", "s2"))
IDENTITIES = {f"s{number}": seeded(f"s{number}") for number in range(1, 8)}
PINNED = {name: key.public_key for name, key in IDENTITIES.items()}


def copy_job(held_by: KeyHolders | None) -> Job:
    request = CopyKey(signer_group=NEW.group, held_by=held_by)
    return Job(
        id=uuid4(),
        step_of=COPY_ID,
        kind=JobKind.COPY_KEY,
        group="mpc",
        key=KeyReference(
            id=COPY_ID,
            scheme="ECDSA",
            curve="secp256k1",
            network=Network.ETHEREUM,
            public_key=made_up_key(),
        ),
        endpoint=Endpoint.COPIES,
        request=request.model_dump_json().encode(),
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
        holders=NEW,
        copied_from=KEY_ID,
    )


def ticket(job: Job) -> Ticket:
    return ticket_for(
        job,
        kind=CeremonyKind.IMPORT,
        share_set_id=None,
        digest=None,
        group=NEW.group,
        threshold=NEW.threshold,
        signers=list(NEW.signers),
        participants=[
            {"signer": name, "index": index} for index, name in enumerate(NEW.signers, 1)
        ],
    )


def dealt(by: KeyHolders, **changes: Any) -> list[Dealing]:
    """The dealings of the first t signers, with made-up points: nobody opens them here."""
    point = made_up_key()
    quorum = tuple(range(1, by.threshold + 1))
    fields: dict[str, Any] = {
        "key_id": KEY_ID,
        "copy_id": COPY_ID,
        "share_set_id": uuid4(),
        "generation": 0,
        "protocol": Protocol.DKLS23_SECP256K1,
        "network": Network.ETHEREUM,
        "public_key": made_up_key(),
        "chain_code": bytes(32),
        "imported": False,
        "dealt_by": by,
        "verifying_shares": (point,) * len(by.signers),
        "quorum": quorum,
        "holders": NEW,
        "commitments": (point,) * NEW.threshold,
        "sealed": dict.fromkeys(NEW.signers, b"sealed"),
    }
    return [
        Dealing(**{**fields, "signer": by.signers[index - 1], "index": index, **changes})
        for index in quorum
    ]


def believed(dealings: list[Dealing], held_by: KeyHolders | None) -> list[Dealing]:
    job = copy_job(held_by).model_copy(
        update={
            "evidence": tuple(
                IDENTITIES[each.signer].sign(DEALING_TYPE, each.model_dump_json().encode())
                for each in dealings
            )
        }
    )
    return require_dealings(job, ticket(job), PINNED)


def test_dealings_of_the_group_that_the_application_has_signed_are_believed():
    dealings = dealt(OLD)
    assert believed(dealings, OLD) == dealings


@pytest.mark.parametrize(
    "lie",
    [
        LIARS,
        LIARS.model_copy(update={"signers": OLD.signers}),
        OLD.model_copy(update={"group": "another"}),
        OLD.model_copy(update={"signers": OLD.signers[:4]}),
    ],
)
def test_fewer_dealers_than_the_keys_threshold_cannot_make_up_a_key(lie):
    """The number of dealers is not their own word: two liars of a 3-of-5 group would be enough."""
    with pytest.raises(Failed, match="old group") as caught:
        believed(dealt(lie), OLD)
    assert (caught.value.code, caught.value.culprits) == ("bad_dealing", ("s1",))


@pytest.mark.parametrize("network", [None, Network.BITCOIN])
def test_a_copy_does_not_change_the_network_of_a_key(network):
    with pytest.raises(Failed, match="network") as caught:
        believed(dealt(OLD, network=network), OLD)
    assert caught.value.culprits == ("s1",)


STORED = StoredShare(
    key_id=KEY_ID,
    ceremony=uuid4(),
    state=ShareState.ACTIVE,
    generation=0,
    protocol=Protocol.DKLS23_SECP256K1,
    group=OLD.group,
    threshold=OLD.threshold,
    signers=OLD.signers,
    index=3,
    network=Network.ETHEREUM,
    public_key=made_up_key(),
    chain_code=bytes(32),
    transcript=bytes(32),
    made_for=None,
    proved_with=(),
    is_proved=True,
    encryption_key="a key",
    created_at=NOW,
)


def test_an_old_signer_deals_only_if_the_request_names_its_own_group():
    """Otherwise new signers would blame it for a request that is wrong."""
    require_old_group(STORED, OLD)
    require_old_group(STORED, None)
    for wrong in (LIARS, NEW, OLD.model_copy(update={"threshold": 2})):
        with pytest.raises(Denied) as caught:
            require_old_group(STORED, wrong)
        assert caught.value.code == "request_mismatch"


def test_a_threshold_below_the_lowest_is_denied():
    require_threshold(NEW, 2)
    with pytest.raises(Denied, match="min_unsigned_copy_threshold") as caught:
        require_threshold(NEW, 3)
    assert caught.value.code == "threshold_too_low"


NO_POINT = bytes(PUBLIC_KEY_BYTES - MLKEM_BYTES)
"""Of X25519: the shared secret with it would be zero."""


@pytest.mark.parametrize(
    "import_key",
    [
        b"\xff" * PUBLIC_KEY_BYTES,
        HybridPrivateKey.generate().public_key[:MLKEM_BYTES] + NO_POINT,
    ],
)
def test_a_new_signer_whose_import_key_is_none_is_named(import_key):
    algorithm = ECDSA_SECP256K1
    statement = ImportKeyStatement(
        import_id=COPY_ID,
        application=None,
        scheme=algorithm.scheme,
        curve=algorithm.curve,
        protection="mpc",
        wrapping="hpke-mlkem768-x25519",
        import_key=import_key,
        expires_at=NOW,
        group=NEW.group,
        threshold=NEW.threshold,
        signers=list(NEW.signers),
        node="s6",
    )
    with pytest.raises(Failed) as caught:
        seal_to(statement, bytes(32), b"info")
    failed = caught.value
    assert (failed.code, failed.transient, failed.culprits) == ("bad_import_key", True, ("s6",))
