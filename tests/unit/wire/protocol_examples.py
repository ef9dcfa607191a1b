"""The examples of docs/reference/wire-protocol, made from the models themselves.

``python -m tests.unit.wire.protocol_examples`` writes them into its pages again after the
models have changed; the test beside this file fails until somebody has.
"""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

from coincurve import PrivateKey

from custody.node.gate_messages import Decision, GateAnswer, question_about
from custody.wire.algorithms import ECDSA_SECP256K1, Curve, Network, Protection, Scheme, Store
from custody.wire.audit import BEGIN, GENESIS, AuditHead, AuditPlace, Restored, chain_hash
from custody.wire.digests import eip191
from custody.wire.encoding import Model
from custody.wire.imports import ImportedKey, ImportKeyStatement, Wrapping
from custody.wire.inventory import (
    ArchivedKey,
    HeldKey,
    Holding,
    InventoryPage,
    PageReceived,
    RecordedOutcome,
)
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.node_api import (
    ArchivedSince,
    AuditHeads,
    AuditRecordsRequest,
    AuditRecordsResponse,
    ChangedKey,
    ChangedKeys,
    ClaimedJob,
    ClaimRequest,
    ClaimResponse,
    ExtendRequest,
    ExtendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    KnownRestore,
    Lease,
    NodeHealth,
    Report,
    ReportRequest,
    ReportResponse,
    ReportResult,
    RestoreClaim,
    RestoreClaimed,
)
from custody.wire.outcomes import (
    GeneratedKey,
    MadeSignature,
    Outcome,
    OutcomeStatus,
    PreparedImport,
)
from custody.wire.requests import CreateWallet, SignMessage
from custody.wire.resources import Problem
from custody.wire.signatures import finish
from custody.wire.signed_bytes import (
    ATTESTATION_TYPE,
    AUDIT_HEAD_TYPE,
    IMPORT_KEY_TYPE,
    JOB_TYPE,
    RESTORED_TYPE,
    pre_authentication_encoding,
)
from custody.wire.signed_requests import SIGNATURE_HEADER, sign_request
from custody.wire.statements import Attestation, MadeFor
from tests.unit.wire import signer_examples
from tests.unit.wire.example_keys import JOB_SIGNER, seeded

FOLDER = Path(__file__).parents[3] / "docs/reference/wire-protocol"
PAGES = sorted(FOLDER.glob("*.md"))
WHOLE_EXAMPLES = FOLDER / "examples"
"""Files of the examples that a page shows with long values cut."""
BLOCK = re.compile(
    r"<!-- example: ([\w-]+) -->\n```(json|text)\n(.*?)\n```"
    r"(?:\n\n\[The whole example\]\([\w./-]+\)\.)?",
    re.DOTALL,
)
LONG_VALUE = re.compile(r"[A-Za-z0-9+/=]{160,}")
SHOWN_CHARACTERS = 60

NODE = "zurich-1"
CREATED_AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEY_ID = UUID("5b0f4e0e-6a53-4f0a-8a6c-0d6c7e2f9b11")
SIGNATURE_ID = UUID("c1d9a1a4-58b4-4b5e-9d1b-7f3f4a2e6c22")
IMPORT_ID = UUID("2c7e9d1b-4a6f-4c8e-9b3d-5f7a1c2e4d44")
LEASE = UUID("0e8a7c56-2f1d-4f7b-b0a9-3c5d7e9f1a33")
REQUEST = b'{"kind": "Message", "message": "hello", "external_id": "order-7"}'


APPLICATION = seeded("example: an application's own key")
NODE_SIGNER = seeded("example: the node's identity key")
WALLET = PrivateKey(hashlib.sha256(b"example: a wallet's key").digest())

GENERATE = Job(
    id=KEY_ID,
    kind=JobKind.GENERATE_KEY,
    group="hsm",
    key=KeyReference(
        id=KEY_ID,
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        network=Network.ETHEREUM,
        public_key=None,
    ),
    endpoint=Endpoint.WALLETS,
    request=b'{"network": "Ethereum", "store": "hsm"}',
    created_at=CREATED_AT,
    expires_at=CREATED_AT + timedelta(minutes=15),
)
SIGN = Job(
    id=SIGNATURE_ID,
    kind=JobKind.SIGN,
    group="hsm",
    key=GENERATE.key.model_copy(update={"public_key": WALLET.public_key.format()}),
    endpoint=Endpoint.SIGNATURES,
    request=REQUEST,
    created_at=CREATED_AT,
    expires_at=CREATED_AT + timedelta(minutes=15),
)
SIGN_PAYLOAD = SIGN.model_dump_json().encode()
SIGNED_JOB = JOB_SIGNER.sign(JOB_TYPE, SIGN_PAYLOAD)

SIGNED_REQUEST = (
    b'{"kind": "Message", "message": "hello", "key_id": "%s", "store": "hsm", '
    b'"external_id": "order-7", "expires_at": "2026-03-01T12:10:00Z"}' % str(KEY_ID).encode()
)
REQUEST_HEADER = sign_request(APPLICATION, Endpoint.SIGNATURES, SIGNED_REQUEST)
GATE_QUESTION = question_about(
    SIGN.model_copy(update={"request": SIGNED_REQUEST}),
    node=NODE,
    store=Store.HSM,
    application="shop",
    now=CREATED_AT + timedelta(seconds=2),
)

ATTESTATION = Attestation(
    key_id=KEY_ID,
    made_for=MadeFor(
        endpoint=Endpoint.WALLETS, external_id="order-7", application=APPLICATION.public_key
    ),
    network=Network.ETHEREUM,
    store=Store.HSM,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    public_key=WALLET.public_key.format(),
    protection=Protection.HSM,
    group="hsm",
    threshold=1,
    signers=[NODE],
    node=NODE,
)
SIGNED_ATTESTATION = NODE_SIGNER.sign(ATTESTATION_TYPE, ATTESTATION.model_dump_json().encode())
KEY_OUTCOME = Outcome(
    job_id=KEY_ID,
    node=NODE,
    status=OutcomeStatus.DONE,
    result=GeneratedKey(
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        public_key=WALLET.public_key.format(),
        protection=Protection.HSM,
        attestation=SIGNED_ATTESTATION,
    ),
)
IMPORT_STATEMENT = ImportKeyStatement(
    import_id=IMPORT_ID,
    application=APPLICATION.public_key,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    protection=Protection.HSM,
    wrapping=Wrapping.RSA_OAEP_AES_KWP_SHA1,
    import_key=b"in place of a SubjectPublicKeyInfo",
    expires_at=CREATED_AT + timedelta(hours=1),
    group="hsm",
    threshold=1,
    signers=[NODE],
    node=NODE,
)
IMPORT_OUTCOME = Outcome(
    job_id=IMPORT_ID,
    node=NODE,
    status=OutcomeStatus.DONE,
    result=PreparedImport(
        statements=(NODE_SIGNER.sign(IMPORT_KEY_TYPE, IMPORT_STATEMENT.model_dump_json().encode()),)
    ),
)
IMPORT_REQUEST = CreateWallet(
    network=Network.ETHEREUM,
    store=Store.HSM,
    external_id="order-7",
    imported=ImportedKey(
        import_id=IMPORT_ID,
        public_key=WALLET.public_key.format(),
        wrapped=b"in place of a wrapped key",
    ),
)


def _signature_outcome() -> Outcome:
    request = SignMessage.model_validate_json(REQUEST)
    digest = eip191(request.content)
    raw = WALLET.sign_recoverable(digest, hasher=None)[:64]
    public_key = WALLET.public_key.format()
    signature = finish(raw, public_key, ECDSA_SECP256K1, Network.ETHEREUM, request, digest)
    return Outcome(
        job_id=SIGNATURE_ID,
        node=NODE,
        status=OutcomeStatus.DONE,
        result=MadeSignature(digest=digest, signature=signature),
    )


SIGNATURE_OUTCOME = _signature_outcome()
FAILED_OUTCOME = Outcome(
    job_id=SIGNATURE_ID,
    node=NODE,
    status=OutcomeStatus.FAILED,
    code="hsm_unavailable",
    reason="the token does not answer",
    transient=True,
)
HEAD = AuditHead(node=NODE, sequence=1, hash=chain_hash(GENESIS, b"the first record"))
SIGNED_HEAD = NODE_SIGNER.sign(AUDIT_HEAD_TYPE, HEAD.model_dump_json().encode())
LOST_HEAD = NODE_SIGNER.sign(
    AUDIT_HEAD_TYPE,
    AuditHead(node=NODE, sequence=2, hash=chain_hash(HEAD.hash, b"the second record"))
    .model_dump_json()
    .encode(),
)
RESTORED = Restored(
    node=NODE,
    agreed=HEAD,
    kept=LOST_HEAD,
    own=SIGNED_HEAD,
    operator="bo",
    reason="disk failed, backup of Monday",
    at=CREATED_AT,
)
SIGNED_RESTORED = NODE_SIGNER.sign(RESTORED_TYPE, RESTORED.model_dump_json().encode())

MODELS: dict[str, Model] = {
    "signed-job": SIGNED_JOB,
    "job-sign": SIGN,
    "job-generate": GENERATE,
    "outcome-key": KEY_OUTCOME,
    "attestation": ATTESTATION,
    "import-statement": IMPORT_STATEMENT,
    "outcome-import": IMPORT_OUTCOME,
    "import-request": IMPORT_REQUEST,
    "outcome-signature": SIGNATURE_OUTCOME,
    "outcome-failed": FAILED_OUTCOME,
    "audit-head": HEAD,
    "claim-request": ClaimRequest(kinds=["GenerateKey", "Sign"], slots=32, wait=30),
    "claim-response": ClaimResponse(
        jobs=[
            ClaimedJob(
                job_id=SIGNATURE_ID, job=SIGNED_JOB, attempt=1, lease=LEASE, lease_seconds=30
            )
        ]
    ),
    "report-request": ReportRequest(
        reports=[
            Report(
                job_id=SIGNATURE_ID,
                lease=LEASE,
                outcome=SIGNATURE_OUTCOME.model_dump_json().encode(),
            )
        ],
        audit_head=SIGNED_HEAD,
    ),
    "report-response": ReportResponse(results=[ReportResult(job_id=SIGNATURE_ID, note="recorded")]),
    "extend-request": ExtendRequest(leases=[Lease(job_id=SIGNATURE_ID, lease=LEASE)]),
    "extend-response": ExtendResponse(extended=[SIGNATURE_ID], lease_seconds=30),
    "heartbeat-request": HeartbeatRequest(
        version="0.1.0",
        group="hsm",
        kinds=["GenerateKey", "Sign"],
        capabilities={
            "ECDSA/secp256k1": "hsm",
            "ECDSA/secp256r1": "hsm",
            "EdDSA/ed25519": "host",
        },
        health=NodeHealth(status="ok"),
        identity_public_key=NODE_SIGNER.public_key,
        audit_head=SIGNED_HEAD,
        job_signing_keys=(SIGNED_JOB.signing_key_id,),
    ),
    "heartbeat-response": HeartbeatResponse(node=NODE, group="hsm", time=CREATED_AT),
    "inventory-request": InventoryPage(
        question=LEASE,
        number=0,
        keys=(
            HeldKey(
                key_id=ATTESTATION.key_id,
                attestation=SIGNED_ATTESTATION,
                holding=Holding.IN_USE,
                created_at=CREATED_AT,
            ),
        ),
        outcomes=(
            RecordedOutcome(
                job_id=SIGNATURE_ID,
                node=NODE,
                outcome=SIGNATURE_OUTCOME.model_dump_json().encode(),
                committed_at=CREATED_AT,
            ),
        ),
        is_last=True,
        archived=(ArchivedKey(root_id=KEY_ID, by="request", archived_at=CREATED_AT),),
    ),
    "inventory-response": PageReceived(wanted=False),
    "gate-question": GATE_QUESTION,
    "gate-answer": GateAnswer(
        decision=Decision.APPROVE, digest=GATE_QUESTION.digest, reason="within the daily limit"
    ),
    "audit-heads": AuditHeads(
        group="hsm",
        heads=[SIGNED_HEAD],
        set_aside=(LOST_HEAD,),
        restores=(
            KnownRestore(
                restored=SIGNED_RESTORED,
                acknowledged_at=CREATED_AT,
                acknowledged_by="ada",
                acknowledged_reason="asked Bo, who restored it",
            ),
        ),
    ),
    "changed-keys": ChangedKeys(
        keys=[ChangedKey(key_id=KEY_ID, changed_at=CREATED_AT)],
        is_complete=True,
        archived=(
            ArchivedSince(root_id=KEY_ID, path=[], request_id=SIGNATURE_ID, archived_at=CREATED_AT),
        ),
    ),
    "audit-restored": RESTORED,
    "audit-restored-request": RestoreClaim(restored=SIGNED_RESTORED),
    "audit-restored-response": RestoreClaimed(is_acknowledged=False),
    "audit-records-request": AuditRecordsRequest(
        after=BEGIN, records=(b"the first record",), head=SIGNED_HEAD
    ),
    "audit-records-response": AuditRecordsResponse(
        kept=AuditPlace(sequence=HEAD.sequence, hash=HEAD.hash)
    ),
    "problem": Problem(
        type="urn:custody:problem:invalid_request",
        title="Invalid request",
        status=422,
        code="invalid_request",
        detail="slots: Input should be greater than or equal to 1",
    ),
    **signer_examples.MODELS,
}


def text_of_all_pages() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


@cache
def examples() -> dict[str, str]:
    """Each example's name, and its text as the pages must have it."""
    texts = {name: _pretty(model) for name, model in MODELS.items()}
    texts["job-payload"] = SIGN_PAYLOAD.decode()
    texts["job-signed-bytes"] = pre_authentication_encoding(JOB_TYPE, SIGN_PAYLOAD).decode()
    texts["signed-request"] = SIGNED_REQUEST.decode()
    texts["signed-request-header"] = f"{SIGNATURE_HEADER}: {REQUEST_HEADER}"
    texts["application-key"] = base64.b64encode(APPLICATION.public_key).decode()
    texts["job-signing-key"] = base64.b64encode(JOB_SIGNER.public_key).decode()
    return texts | signer_examples.texts()


def _pretty(model: Model) -> str:
    return json.dumps(model.model_dump(mode="json"), indent=2, ensure_ascii=False)


def shown(text: str) -> str:
    """Return the text as a page shows it: each long base64 or hex value is cut."""
    return LONG_VALUE.sub(
        lambda value: f"{value[0][:SHOWN_CHARACTERS]}… ({len(value[0])} characters)", text
    )


@cache
def whole_examples() -> dict[str, str]:
    """Return the files beside the pages: name to contents."""
    suffixes = {name: ".json" if name in MODELS else ".txt" for name in examples()}
    return {
        name + suffixes[name]: text + "\n"
        for name, text in examples().items()
        if shown(text) != text
    }


def block(name: str, language: str) -> str:
    """Return an example as a page has it."""
    text = examples()[name]
    lines = [f"<!-- example: {name} -->", f"```{language}", shown(text), "```"]
    for file in whole_examples():
        if file.rsplit(".", 1)[0] == name:
            lines += ["", f"[The whole example](examples/{file})."]
    return "\n".join(lines)


def main() -> None:
    for page in PAGES:
        text = BLOCK.sub(lambda found: block(found[1], found[2]), page.read_text("utf-8"))
        page.write_text(text, "utf-8")
    WHOLE_EXAMPLES.mkdir(exist_ok=True)
    for old in WHOLE_EXAMPLES.iterdir():
        old.unlink()
    for name, contents in whole_examples().items():
        (WHOLE_EXAMPLES / name).write_text(contents, "utf-8")


if __name__ == "__main__":
    main()
