"""No two values make the same hash or associated data by running into each other."""

import ast
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from custody.control_plane.conductor.bans import _digest as ban_digest
from custody.control_plane.conductor.planning.quorum import _turn
from custody.control_plane.resources.external_ids import body_digest
from custody.node.stored_key import StoredKey
from custody.pkcs11 import host_signing
from custody.pkcs11.messages import proof_value
from custody.wire.algorithms import ALGORITHMS, ECDSA_SECP256K1, Network, Store
from custody.wire.audit import chain_hash
from custody.wire.dealing_facts import DealingFacts
from custody.wire.framing import Domain, join, tagged, tagged_hash
from custody.wire.jobs import MAX_DEPTH, KeyHolders, child_key_id, wallet_id_of
from custody.wire.possession import possession_digest
from custody.wire.requests import CreateKey, CreateWallet, DeriveKey
from custody.wire.signed_bytes import SignedBytes, pre_authentication_encoding
from custody.wire.tickets import Protocol
from hsm_driver.key_copies import bound_to
from mpc.imports import import_keys
from mpc.shares.stored_share import associated_data
from tests.unit.wire.protocol_examples import text_of_all_pages

ROOT = Path(__file__).parents[3]
PACKAGES = ("custody", "hsm_driver", "mpc")


def share_row(
    key_id: UUID,
    network: Network | None,
    public_key: bytes,
    chain_code: bytes,
    group: str,
    signers: list[str],
    protocol: Protocol,
    ceremony: UUID,
    threshold: int,
    generation: int,
    index: int,
    transcript: bytes,
    is_repaired: bool,
) -> bytes:
    return associated_data(
        StoredKey(key_id, ECDSA_SECP256K1, network, public_key, chain_code),
        KeyHolders.model_construct(group=group, threshold=threshold, signers=tuple(signers)),
        protocol=protocol,
        ceremony=ceremony,
        generation=generation,
        index=index,
        transcript=transcript,
        is_repaired=is_repaired,
    )


def import_seal(
    signer: str, import_id: UUID, group: str, threshold: int, signers: tuple[str, ...], *facts: Any
) -> bytes:
    holders = KeyHolders.model_construct(group=group, threshold=threshold, signers=signers)
    return DealingFacts(import_id, holders, *facts).sealed_for(signer)


ids = st.sampled_from([UUID(int=number) for number in range(4)])
spelled = st.sampled_from([int.from_bytes(text) for text in (b"Ethe", b"reum", b"Bitc", b"oin\0")])
paths = st.lists(st.one_of(st.integers(0, 3), spelled), max_size=MAX_DEPTH).map(tuple)
networks = st.sampled_from([None, *Network])
names = st.text("ab\0/", max_size=3)
few = st.binary(max_size=2)


CONSTRUCTIONS: dict[Domain, tuple[Callable[..., object], tuple[st.SearchStrategy, ...]]] = {
    Domain.CHILD_KEY: (child_key_id, (ids, paths, networks)),
    Domain.WALLET: (wallet_id_of, (ids, networks)),
    Domain.BODY: (
        body_digest,
        (
            st.one_of(
                st.builds(DeriveKey, path=st.sampled_from(["m/0", "m/1"])),
                st.builds(
                    CreateWallet,
                    store=st.just(Store.HSM),
                    network=st.sampled_from(Network),
                    external_id=st.sampled_from([None, "a", "b"]),
                ),
                st.just(CreateKey(store=Store.HSM, scheme="ECDSA", curve="secp256k1")),
            ),
            st.one_of(st.none(), ids),
        ),
    ),
    Domain.KEY_CHECK: (possession_digest, (ids, st.one_of(st.none(), ids))),
    Domain.AUDIT: (chain_hash, (few, few)),
    Domain.SHARE: (
        share_row,
        (
            ids,
            st.one_of(st.none(), st.sampled_from(Network)),
            few,
            few,
            names,
            st.lists(names, max_size=3),
            st.sampled_from(Protocol),
            ids,
            *[st.integers(0, 3)] * 3,
            few,
            st.booleans(),
        ),
    ),
    Domain.HOST_KEY: (
        host_signing.associated_data,
        (st.sampled_from(sorted(ALGORITHMS, key=str)), few),
    ),
    Domain.IMPORT_KEY: (import_keys.associated_data, (ids, few)),
    Domain.KEY_COPY: (bound_to, (ids,)),
    Domain.KEY_PROOF: (
        proof_value,
        (
            names,
            st.one_of(st.none(), st.sampled_from(sorted(ALGORITHMS, key=str))),
            few,
            few,
            st.lists(names, max_size=3),
        ),
    ),
    Domain.BAN: (
        lambda signer, signature, payload: ban_digest(
            signer, SignedBytes(payload=payload, signature=signature, signing_key_id="")
        ),
        (names, few, few),
    ),
    Domain.TURN: (_turn, (ids, names)),
    Domain.IMPORT_SEAL: (
        import_seal,
        (
            st.sampled_from(["a", "b"]),
            ids,
            names,
            st.integers(2, 3),
            st.sampled_from([("a", "b"), ("b", "a"), ("a", "b", "c"), ("ab", "a", "b")]),
            st.sampled_from(sorted(ALGORITHMS, key=str)),
            few,
            st.lists(few, max_size=3).map(tuple),
            few.filter(bool),
        ),
    ),
}
JOINED_WHERE_THEY_ARE_MADE = {
    Domain.REQUEST: "one part: JSON",
    Domain.SESSION: "tests/unit/mpc/test_envelopes.py",
    Domain.ECHO: "tests/unit/mpc/test_envelopes.py",
    Domain.SEAL: "one part: a header of fixed fields",
    Domain.TICKET_SEAL: "tests/unit/mpc/test_ticket_seal.py",
    Domain.HAND_IN: "tests/integration/delivery",
    Domain.DATA_KEY: "no parts",
    Domain.MIGRATIONS: "one part: a name",
}


@pytest.mark.parametrize("domain", CONSTRUCTIONS)
@given(data=st.data())
def test_other_values_make_other_bytes(domain: Domain, data: st.DataObject):
    construct, parts = CONSTRUCTIONS[domain]
    one, two = data.draw(st.tuples(*parts)), data.draw(st.tuples(*parts))
    assume(one != two)
    assert construct(*one) != construct(*two)


@pytest.mark.parametrize("domain", [Domain.AUDIT, Domain.HOST_KEY, Domain.BAN, Domain.TURN])
@given(
    whole=st.binary(min_size=1, max_size=8), cuts=st.tuples(st.integers(0, 8), st.integers(0, 8))
)
def test_a_byte_that_moves_to_the_next_value_makes_other_bytes(domain, whole, cuts):
    one, two = ((whole[:cut], whole[cut:]) for cut in cuts)
    assume(one != two)
    assert tagged(domain, *one) != tagged(domain, *two)
    assert tagged_hash(domain, *one) != tagged_hash(domain, *two)


def test_every_domain_is_accounted_for():
    assert CONSTRUCTIONS.keys() | JOINED_WHERE_THEY_ARE_MADE.keys() == set(Domain)


@given(st.tuples(ids, paths, networks), st.tuples(ids, paths, networks))
@example((UUID(int=1), (0,), Network.ETHEREUM), (UUID(int=1), (0, 0x45746865, 0x7265756D), None))
def test_an_id_is_that_of_one_child(one, two):
    """The path m/0/1165256805/1919251821 spells "Ethereum"."""
    assert (child_key_id(*one) == child_key_id(*two)) == (one == two)


@given(st.tuples(names, few), st.tuples(names, few))
def test_signed_bytes_of_two_types_are_not_alike(one, two):
    assume(one != two)
    assert pre_authentication_encoding(*one) != pre_authentication_encoding(*two)


def test_a_ban_is_not_taken_for_one_whose_signature_reaches_into_the_payload():
    honest = SignedBytes(payload=b"payload", signature=b"signature", signing_key_id="")
    shifted = SignedBytes(payload=b"ayload", signature=b"signaturep", signing_key_id="")
    assert ban_digest("signer-1", honest) != ban_digest("signer-1", shifted)


def test_the_native_module_hashes_as_we_do():
    """The same vector as in mpc/native/src/protocol.rs."""
    content = join(b"custody-mpc-context-v1", b"\x01\x02", b"", b"abc")
    assert hashlib.sha256(content).hexdigest() == VECTOR
    native = (ROOT / "mpc/native/src/protocol.rs").read_text()
    assert VECTOR in native


VECTOR = "11cfe5a8256f0cf9c704aa464a573e621d2285506c9591f501bb8dba25c996b0"


# One way to do it, in all sources

STANDARDS = {
    "custody/client/importing/keystore.py": "the MAC of the keystore: 16 bytes, then the rest",
    "custody/wire/framing.py": "where it is done",
    "custody/wire/bip322.py": "the tagged hash of BIP-340 and BIP-322",
    "mpc/recover/signing.py": "RFC 8032, section 5.1.6: values of fixed size before the message",
}
FIXED = {
    "custody/node/gate_messages.py": "time, full stop, body: no digit of a time is a full stop",
    "custody/pkcs11/key_proof.py": "a constant",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def is_put_together(node: ast.expr) -> bool:
    """Several values, written side by side."""
    return any(
        isinstance(each, ast.BinOp | ast.JoinedStr)
        or (isinstance(each, ast.Attribute) and each.attr == "join")
        or (isinstance(each, ast.Name) and each.id == "join")
        for each in ast.walk(node)
    )


def test_no_hash_is_made_over_values_that_were_put_side_by_side():
    found = set()
    for name, tree in sources():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith(
                ("hashlib.", "hmac.")
            ):
                found |= {name for argument in call.args if is_put_together(argument)}
    assert found == (STANDARDS | FIXED).keys() - {"custody/wire/framing.py"}


def test_no_two_modules_use_one_domain():
    users = defaultdict(set)
    for name, tree in sources():
        for each in ast.walk(tree):
            if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "Domain":
                users[each.attr].add(name)
    assert users.keys() == {domain.name for domain in Domain}
    assert {name: used for name, used in users.items() if len(used) > 1} == {}


def test_the_document_lists_every_construction():
    native = "".join(path.read_text() for path in (ROOT / "mpc/native/src").rglob("*.rs"))
    domains = {domain.value for domain in Domain} | set(
        re.findall(r'tagged_hash\(\s*"([^"]+)"', native)
    )
    listed = re.findall(r"^\| `(custody-[a-z0-9-]+)` \|", text_of_all_pages(), re.MULTILINE)
    assert sorted(listed) == sorted(domains)
