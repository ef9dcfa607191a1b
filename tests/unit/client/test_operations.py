"""Operations describe calls: what is sent, what is read, and when waiting ends. No network."""

import inspect
import json
from datetime import UTC, datetime
from typing import Any, assert_type
from uuid import uuid4

import pytest

from custody.client import (
    AsyncCustody,
    Curve,
    Custody,
    Failed,
    Key,
    Network,
    NotFinal,
    Rejected,
    Scheme,
    Signature,
    SignatureStatus,
    Store,
    UnexpectedAnswer,
    Unknown,
    Wallet,
    change_operations,
    operations,
)
from custody.client.calls import Call, Calls
from custody.client.client import Operations
from custody.control_plane.serve import openapi_document
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.resources import Reason
from tests.made_up_keys import made_up_key

KEY = uuid4()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def signature(status: SignatureStatus) -> Signature:
    reason = Reason(code="denied", detail="not today") if status.is_final else None
    return Signature(
        id=uuid4(),
        key_id=KEY,
        status=status,
        kind="Message",
        message="hello",
        transaction=None,
        digest=None,
        signature=None,
        external_id=None,
        reason=reason,
        created_at=NOW,
        expires_at=NOW,
    )


def first_call(calls: Calls[Any]) -> Call[Any]:
    return next(calls)


def finish(calls: Calls[Any], answer: object) -> Any:
    """Send the last answer and return the result."""
    with pytest.raises(StopIteration) as end:
        calls.send(answer)
    return end.value.value


def body(call: Call[Any]) -> dict[str, Any]:
    assert call.body is not None
    data: dict[str, Any] = json.loads(call.body)
    return data


POSTS = [
    operations.create_wallet(Network.ETHEREUM),
    operations.create_key(Scheme.ECDSA, Curve.SECP256R1),
    operations.derive_key(KEY, "m/0"),
    change_operations.refresh_key(KEY),
    change_operations.repair_share(KEY, "signer-1"),
    change_operations.archive_key(KEY),
    change_operations.unarchive_key(KEY),
    operations.sign_message(KEY, "hello"),
    operations.sign_hash(KEY, bytes(32)),
    operations.sign_transaction(KEY, b"transaction"),
]


@pytest.mark.parametrize(
    ("update", "path"),
    [(operations.update_wallet, "/v1/wallets"), (operations.update_key, "/v1/keys")],
)
def test_an_update_sends_only_what_it_is_given(update: Any, path: str):
    call = first_call(update(KEY, name="A name"))
    assert (call.method, call.path, body(call)) == ("PATCH", f"{path}/{KEY}", {"name": "A name"})
    assert body(first_call(update(KEY, tags=("b", "a")))) == {"tags": ["a", "b"]}
    assert body(first_call(update(KEY, name=None, tags=None))) == {"name": None, "tags": None}
    assert body(first_call(update(KEY, tags=()))) == {"tags": []}
    assert body(first_call(update(KEY))) == {}


@pytest.mark.parametrize(
    "operation",
    [
        lambda tags: operations.create_wallet(Network.ETHEREUM, tags=tags),
        lambda tags: operations.create_key(Scheme.ECDSA, Curve.SECP256K1, tags=tags),
        lambda tags: next(operations.derive_key(KEY, "m/0", tags=tags)),
        lambda tags: next(operations.add_wallet(KEY, Network.SOLANA, tags=tags)),
        lambda tags: operations.list_wallets(tags=tags),
        lambda tags: operations.list_keys(tags=tags),
        lambda tags: operations.update_wallet(KEY, tags=tags),
    ],
)
def test_one_text_is_not_taken_for_a_list_of_tags(operation: Any):
    operation(["cold"])
    with pytest.raises(ValueError, match=r"give a list, for example \['cold'\]"):
        operation("cold")


@pytest.mark.parametrize("listing", [operations.list_wallets, operations.list_keys])
def test_filters_of_a_list_are_query_parameters(listing: Any):
    call = listing(tags=["a", "b"], name="A", owner="acme", network=Network.SOLANA, store=Store.MPC)
    assert dict(call.query) == {
        "tag": ["a", "b"],
        "name": "A",
        "owner": "acme",
        "network": "Solana",
        "store": "mpc",
    }
    assert dict(listing().query) == {}


@pytest.mark.parametrize(
    ("path", "listing"),
    [
        ("/v1/wallets", operations.list_wallets),
        ("/v1/keys", operations.list_keys),
        ("/v1/keys/{key_id}/copies", change_operations.list_copies),
        ("/v1/keys/{key_id}/signatures", operations.list_signatures),
    ],
)
def test_a_list_takes_every_filter_of_the_api(path: str, listing: Any):
    shown = {each["name"] for each in openapi_document()["paths"][path]["get"]["parameters"]}
    filters = {"tags" if name == "tag" else name for name in shown - {"limit", "cursor"}}
    assert set(inspect.signature(listing).parameters) - {"on_not_attested"} == filters


def test_a_name_and_tags_are_part_of_the_request_that_an_application_signs():
    wanted = operations.create_wallet(Network.ETHEREUM, name="A name", tags={"cold"})
    assert {"name": "A name", "tags": ["cold"]}.items() <= body(first_call(wanted)).items()
    plain = operations.create_wallet(Network.ETHEREUM)
    assert not {"name", "tags"} & body(first_call(plain)).keys()


def test_every_post_carries_an_external_id_so_that_it_may_be_sent_again():
    calls = [first_call(calls) for calls in POSTS]
    assert {call.method for call in calls} == {"POST"}
    assert len({body(call)["external_id"] for call in calls}) == len(POSTS)


def test_a_copy_is_compared_with_the_key_that_it_was_asked_of():
    asked = change_operations.copy_key(KEY, "zurich")
    origin = next(asked)
    assert (origin.method, origin.path) == ("GET", f"/v1/keys/{KEY}")
    fields: dict[str, Any] = {
        "id": KEY, "status": "Active", "store": "mpc", "scheme": "EdDSA", "curve": "ed25519",
        "network": None, "public_key": made_up_key(EDDSA_ED25519), "protection": "mpc",
        "signer_group": "treasury", "threshold": 2, "signers": ["a", "b"], "generation": 0,
        "root": None, "path": None, "chain_code": None, "attestations": [], "external_id": None,
        "name": None, "tags": [], "reason": None, "created_at": NOW,
    }  # fmt: skip
    call = asked.send(Key(**fields))
    assert (call.method, call.path) == ("POST", f"/v1/keys/{KEY}/copy")
    assert body(call)["external_id"]
    copy = {**fields, "id": uuid4(), "signer_group": "zurich", "copied_from": KEY}
    another = {**copy, "public_key": made_up_key(EDDSA_ED25519, 2)}
    with pytest.raises(UnexpectedAnswer, match="another public key"):
        asked.send(Key(**another))

    pending = {**copy, "status": "Pending", "public_key": None, "protection": None}
    for shown in (Key(**pending), Key(**copy)):
        asked = change_operations.copy_key(KEY, "zurich", wait=0)
        next(asked)
        asked.send(Key(**fields))
        assert finish(asked, shown) is shown


def test_other_operations_change_a_group_that_has_a_name_or_say_how_a_field_must_be():
    """One that is added goes into POSTS, or has a reason to be repeatable of its own."""
    making = {name for name in vars(Operations) if not name.startswith(("_", "get_", "list_"))}
    group = first_call(operations.create_signer_group("treasury", ["a", "b"], 2))
    assert body(group)["name"] == "treasury"
    repeatable = {"create_signer_group", "add_wallet", "update_wallet", "update_key"}
    repeatable |= {"import_wallet", "import_key"}  # the first call asks for a new import
    making.remove("copy_key")  # it reads the key first
    assert len(making) == len(POSTS) + len(repeatable)


def test_an_external_id_given_is_the_one_sent():
    call = first_call(operations.create_wallet(Network.SOLANA, external_id="order-7"))
    assert body(call) == {"network": "Solana", "store": "hsm", "external_id": "order-7"}


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("hello", "hello"),
        (b"\x00\xff", "0x00ff"),
        ("0xcafe", "0x" + b"0xcafe".hex()),
    ],
)
def test_text_is_signed_as_text_and_bytes_as_bytes(message, sent):
    assert body(first_call(operations.sign_message(KEY, message)))["message"] == sent


def test_without_wait_the_first_answer_is_the_result_whatever_it_is():
    calls = operations.sign_message(KEY, "hello", wait=0)
    assert "wait" not in first_call(calls).query
    pending = signature(SignatureStatus.PENDING)
    assert finish(calls, pending) is pending


def test_with_wait_calls_are_held_open_until_the_result_is_final():
    calls = operations.sign_message(KEY, "hello", wait=100)
    assert first_call(calls).wait == 30
    pending = signature(SignatureStatus.EXECUTING)
    again = calls.send(pending)
    assert (again.method, again.wait) == ("GET", 30)
    assert again.path == f"/v1/keys/{KEY}/signatures/{pending.id}"
    signed = signature(SignatureStatus.SIGNED)
    assert finish(calls, signed) is signed


def test_when_time_is_up_the_error_has_the_request_as_it_stood():
    calls = operations.sign_message(KEY, "hello", wait=1e-9)
    first_call(calls)
    pending = signature(SignatureStatus.PENDING)
    with pytest.raises(NotFinal, match=r"still Pending; the request continues$") as raised:
        calls.send(pending)
    assert raised.value.resource is pending


def test_when_time_is_up_the_error_says_what_the_request_waits_for():
    calls = operations.sign_message(KEY, "hello", wait=1e-9)
    first_call(calls)
    waits = Reason(code="waiting_for_signers", detail="1 of 2 signers")
    pending = signature(SignatureStatus.PENDING).model_copy(update={"reason": waits})
    with pytest.raises(NotFinal, match=r"continues \(waiting_for_signers: 1 of 2 signers\)"):
        calls.send(pending)


@pytest.mark.parametrize(
    ("status", "error"),
    [(SignatureStatus.REJECTED, Rejected), (SignatureStatus.FAILED, Failed)],
)
def test_denied_and_failed_are_different_errors_with_the_reason(status, error):
    calls = operations.sign_message(KEY, "hello")
    first_call(calls)
    with pytest.raises(error, match="denied: not today"):
        calls.send(signature(status))


def test_a_status_that_is_unknown_is_not_final_and_is_asked_for_once_a_second():
    calls = operations.sign_message(KEY, "hello", wait=100)
    first_call(calls)
    later = signature(SignatureStatus.PENDING).model_copy(update={"status": Unknown("Cancelled")})
    again = calls.send(later)
    assert 0.9 < again.pause <= 1
    assert finish(calls, signed := signature(SignatureStatus.SIGNED)) is signed


def test_a_status_that_stays_unknown_is_named_when_time_is_up():
    calls = operations.sign_message(KEY, "hello", wait=1e-9)
    first_call(calls)
    later = signature(SignatureStatus.PENDING).model_copy(update={"status": Unknown("Cancelled")})
    with pytest.raises(NotFinal, match="is Cancelled, a status that this version does not know"):
        calls.send(later)


def test_lists_ask_for_what_is_filtered_only():
    assert operations.list_wallets().query == {}
    assert operations.list_wallets(external_id="a").query == {"external_id": "a"}


def test_the_token_is_in_no_representation():
    secret = "custody_" + "s" * 43
    for client in (Custody("https://localhost", secret), AsyncCustody("https://localhost", secret)):
        assert secret not in repr(client) + repr(vars(client)) + str(vars(client.connection))


def test_a_url_without_tls_is_refused():
    with pytest.raises(ValueError, match="https"):
        Custody("http://localhost", "custody_x")


def test_a_ca_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"/nowhere/ca\.pem: No such file"):
        Custody("https://localhost", "custody_x", "/nowhere/ca.pem")


def types_of_both_clients(custody: Custody, async_custody: AsyncCustody) -> None:
    """Checked by mypy alone: one description, real types in both clients."""
    assert_type(custody.create_wallet(Network.ETHEREUM), Wallet)

    async def ask() -> None:
        assert_type(await async_custody.create_wallet(Network.ETHEREUM), Wallet)
        async for each in async_custody.list_signatures(KEY):
            assert_type(each, Signature)
