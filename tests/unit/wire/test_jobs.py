"""Jobs and outcomes as bytes."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from custody.wire.algorithms import Curve, Network, Protection, Scheme
from custody.wire.audit import GENESIS, AuditHead, chain_hash
from custody.wire.framing import join
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference, job_digest
from custody.wire.node_api import (
    MAX_BATCH,
    ClaimRequest,
    ExtendRequest,
    Lease,
    Report,
    ReportRequest,
)
from custody.wire.nodes import node_id_of, node_urn
from custody.wire.outcomes import GeneratedKey, MadeSignature, Outcome, OutcomeStatus
from custody.wire.signatures import SignatureResult
from tests.made_up_keys import made_up_key

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def key_reference(**changes: object) -> dict[str, object]:
    return {
        "id": str(uuid4()),
        "scheme": "ECDSA",
        "curve": "secp256k1",
        "network": "Ethereum",
        "public_key": None,
        **changes,
    }


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "id": uuid4(),
        "kind": JobKind.SIGN,
        "group": "hsm",
        "key": key_reference(public_key=made_up_key()),
        "endpoint": Endpoint.SIGNATURES,
        "request": b'{"kind": "Message",  "message": "\\u0068i"}',
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
    }
    return Job.model_validate({**fields, **changes})


def test_a_job_carries_the_request_byte_for_byte():
    original = job()
    assert Job.model_validate_json(original.model_dump_json()).request == original.request


def test_a_job_is_known_by_the_hash_of_its_signed_payload():
    payload = job().model_dump_json().encode()
    assert job_digest(payload) == hashlib.sha256(payload).digest()


def test_a_job_of_an_unknown_kind_can_be_read_so_that_it_can_be_refused_by_name():
    assert job(kind="Teleport").kind == "Teleport"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"endpoint": "policies"},
        {"created_at": "2026-01-02T03:04:05"},  # no time zone
        {"lease": str(uuid4())},
        {"request": "not base64!"},
    ],
)
def test_a_malformed_job_is_not_read(changes):
    with pytest.raises(ValidationError):
        job(**changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scheme": "EdDSA"}, "not an algorithm"),
        ({"scheme": "EdDSA", "curve": "ed25519"}, "Ethereum has no keys of"),
        ({"curve": "secp256r1"}, "Ethereum has no keys of"),
        ({"network": "Solana"}, "Solana has no keys of"),
        ({"public_key": "0x" + "11" * 32}, "has 33 bytes"),
        ({"public_key": "0x04" + "11" * 64}, "has 33 bytes"),
        ({"public_key": "0x"}, "has 33 bytes"),
        (
            {
                "scheme": "EdDSA",
                "curve": "ed25519",
                "network": None,
                "public_key": "0x" + "11" * 33,
            },
            "has 32 bytes",
        ),
    ],
)
def test_a_jobs_key_is_one_that_can_be(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        KeyReference.model_validate(key_reference(**changes))


@pytest.mark.parametrize(
    "result",
    [
        None,
        GeneratedKey(
            scheme=Scheme.ECDSA,
            curve=Curve.SECP256K1,
            public_key=made_up_key(),
            protection=Protection.HSM,
        ),
        MadeSignature(
            digest=None,
            signature=SignatureResult(r=bytes(32), s=bytes(32), encoded=bytes(64)),
        ),
    ],
)
def test_an_outcome_comes_back_with_its_result(result):
    outcome = Outcome(job_id=uuid4(), node="node-1", status=OutcomeStatus.DONE, result=result)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_a_result_says_which_it_is():
    assert job().key.algorithm == (Scheme.ECDSA, Curve.SECP256K1)
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        Outcome.model_validate(
            {"job_id": uuid4(), "node": None, "status": "DONE", "result": {"type": "Share"}}
        )


def test_networks_are_written_as_the_api_writes_them():
    assert [network.value for network in Network] == [
        "Ethereum",
        "Bitcoin",
        "Solana",
        "EthereumSepolia",
        "BitcoinTestnet4",
        "BitcoinSignet",
        "SolanaDevnet",
    ]


# The audit chain


def test_a_chain_hash_covers_the_record_and_everything_before_it():
    first = chain_hash(GENESIS, b"first")
    second = chain_hash(first, b"second")
    assert first == hashlib.sha256(join(b"custody-audit-v1", bytes(32), b"first")).digest()
    assert len({first, second, chain_hash(GENESIS, b"second"), chain_hash(first, b"first")}) == 4


@pytest.mark.parametrize(
    "changes", [{"sequence": -1}, {"hash": "0x"}, {"hash": "0x" + "00" * 33}, {"sequence": "x"}]
)
def test_an_audit_head_is_a_count_and_a_hash(changes):
    fields = {"node": "node-1", "sequence": 0, "hash": "0x" + "00" * 32}
    AuditHead.model_validate(fields)
    with pytest.raises(ValidationError):
        AuditHead.model_validate({**fields, **changes})


# Nodes


@pytest.mark.parametrize("node_id", ["a", "node-1", "a.b_c-9", "x" * 63])
def test_a_node_id_is_read_out_of_its_urn(node_id):
    assert node_id_of(["https://example.com", node_urn(node_id)]) == node_id


@pytest.mark.parametrize(
    "node_id", ["", "-a", "a-", "A", "a b", "a/b", "a:b", "x" * 64, "a\n", "\na", "é"]
)
def test_anything_else_is_no_node_id(node_id):
    with pytest.raises(ValueError, match="not a node id"):
        node_urn(node_id)
    with pytest.raises(ValueError, match="the certificate names"):
        node_id_of(["urn:custody:node:" + node_id])


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["https://example.com"],
        ["urn:custody:node:a", "urn:custody:node:b"],
        ["urn:custody:node:a", "urn:custody:node:a"],
        ["URN:custody:node:a"],
    ],
)
def test_a_certificate_names_exactly_one_node(uris):
    with pytest.raises(ValueError, match=r"the certificate names \d nodes"):
        node_id_of(uris)


# Limits of the node API


@pytest.mark.parametrize(
    "changes",
    [{"slots": 0}, {"slots": MAX_BATCH + 1}, {"wait": -1}, {"wait": 31}, {"kinds": []}],
)
def test_a_claim_has_limits(changes):
    with pytest.raises(ValidationError):
        ClaimRequest.model_validate({"kinds": ["Sign"], "slots": 1, **changes})


def test_a_report_and_an_extend_have_at_most_one_batch():
    report = Report(job_id=uuid4(), lease=None, outcome=b"")
    lease = Lease(job_id=uuid4(), lease=uuid4())
    ReportRequest(reports=[report] * MAX_BATCH)
    ExtendRequest(leases=[lease] * MAX_BATCH)
    with pytest.raises(ValidationError):
        ReportRequest(reports=[report] * (MAX_BATCH + 1))
    with pytest.raises(ValidationError):
        ExtendRequest(leases=[lease] * (MAX_BATCH + 1))
    with pytest.raises(ValidationError):
        ExtendRequest(leases=[])


@pytest.mark.parametrize("wait", ["NaN", "Infinity", "-Infinity"])
def test_a_claims_wait_is_a_number_of_seconds(wait):
    text = f'{{"kinds": ["Sign"], "slots": 1, "wait": {wait}}}'
    with pytest.raises(ValidationError):
        TypeAdapter(ClaimRequest).validate_json(text)
