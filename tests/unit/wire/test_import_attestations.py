"""Import keys that a reader's pinned nodes have stated, and those that they have not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Protection, Store
from custody.wire.attestations import PinnedGroup, PinnedNodes, Unattested
from custody.wire.import_attestations import AskedImport, check_import
from custody.wire.imports import HPKE_PUBLIC_KEY_SIZE, ImportKeyStatement, Wrapping
from custody.wire.signed_bytes import ATTESTATION_TYPE, IMPORT_KEY_TYPE, SignedBytes, SigningKey
from tests.unit.wire.example_keys import seeded
from tests.unit.wire.protocol_examples import APPLICATION, IMPORT_STATEMENT, NODE, NODE_SIGNER

LIAR = seeded("example: the control plane's own key")
NAMES = ["signer-1", "signer-2", "signer-3"]
SIGNERS = {name: seeded(f"example: the identity of {name}") for name in NAMES}
ID = IMPORT_STATEMENT.import_id
SOON = datetime.now(UTC) + timedelta(hours=1)

PINS = PinnedNodes(
    {NODE: NODE_SIGNER.public_key},
    {name: signer.public_key for name, signer in SIGNERS.items()},
    {"hsm": [NODE]},
    {"treasury": PinnedGroup(2, NAMES)},
    APPLICATION.public_key,
)
OF_DRIVER = AskedImport(ID, Store.HSM, ECDSA_SECP256K1, None)
OF_SIGNERS = AskedImport(ID, Store.MPC, ECDSA_SECP256K1, "treasury")


def said(
    by: SigningKey = NODE_SIGNER, kind: str = IMPORT_KEY_TYPE, **changes: object
) -> SignedBytes:
    fields = IMPORT_STATEMENT.model_dump() | {"expires_at": SOON} | changes
    return by.sign(kind, ImportKeyStatement.model_validate(fields).model_dump_json().encode())


def all_signers(names: Sequence[str] = NAMES, **changes: object) -> list[SignedBytes]:
    fields: dict[str, object] = {
        "protection": Protection.MPC,
        "wrapping": Wrapping.HPKE,
        "import_key": bytes(HPKE_PUBLIC_KEY_SIZE),
        "group": "treasury",
        "threshold": 2,
        "signers": NAMES,
    }
    return [
        said(SIGNERS[name], IMPORT_KEY_TYPE, **(fields | {"node": name} | changes))
        for name in names
    ]


def test_the_statement_of_a_pinned_driver_is_believed():
    [statement] = check_import([said()], OF_DRIVER, PINS)
    assert statement.import_key == IMPORT_STATEMENT.import_key


def test_the_statements_of_all_signers_of_a_pinned_group_are_believed():
    found = check_import(all_signers(), OF_SIGNERS, PINS)
    assert [each.node for each in found] == NAMES


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        ([], "0 statements"),
        ([said(LIAR)], "not pinned"),
        ([said(SIGNERS["signer-1"])], "not pinned"),
        ([said(kind=ATTESTATION_TYPE)], "is wrong"),
        ([said(), said()], "exactly once"),
        ([said(import_id=uuid4())], "another import or algorithm"),
        ([said(curve="secp256r1")], "another import or algorithm"),
        ([said(application=None)], "another application"),
        ([said(application=LIAR.public_key)], "another application"),
        ([said(expires_at=datetime.now(UTC))], "expired"),
        ([said(group="other")], "not pinned as a driver"),
        ([said(node="zurich-2", signers=["zurich-2"])], "in the name of zurich-2"),
    ],
)
def test_what_no_pinned_driver_has_stated_is_not_believed(statements, why):
    """With its own import key, a control plane would read the private key."""
    with pytest.raises(Unattested, match=why):
        check_import(statements, OF_DRIVER, PINS)


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (all_signers()[:2], "exactly once"),
        ([*all_signers()[:2], all_signers()[1]], "exactly once"),
        ([*all_signers()[:2], said(LIAR)], "not pinned"),
        ([*all_signers()[:2], *all_signers(["signer-3"], threshold=3)], "differ"),
        (all_signers(threshold=3), "threshold 3 is attested"),
        (all_signers(group="other"), "not 'treasury'"),
        (all_signers(names=NAMES[:2], signers=NAMES[:2]), "are attested"),
    ],
)
def test_what_not_all_pinned_signers_state_is_not_believed(statements, why):
    with pytest.raises(Unattested, match=why):
        check_import(statements, OF_SIGNERS, PINS)


def test_one_driver_does_not_stand_for_signers_or_another_algorithm():
    with pytest.raises(Unattested):
        check_import([said()], OF_SIGNERS, PINS)
    with pytest.raises(Unattested, match="another import or algorithm"):
        check_import([said()], replace(OF_DRIVER, algorithm=EDDSA_ED25519), PINS)
