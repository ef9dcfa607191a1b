"""The examples of docs/reference/wire-protocol that are about signers and delivery servers."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from coincurve import PrivateKey

from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.ban_questions import BanAnswer, BanQuestion, SetInUse
from custody.wire.dealings import Dealing
from custody.wire.delivery import (
    DeliveryCode,
    DeliveryProblem,
    DeliveryTicket,
    ServerFacts,
    encode_abort,
    encode_hand_in,
    encode_messages,
)
from custody.wire.digests import eip191
from custody.wire.encoding import Model
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference, job_digest
from custody.wire.node_api import (
    ArrivedPart,
    BanAnswerRequest,
    BanAnswerResponse,
    BanQuestionRequest,
    BanQuestionResponse,
    LeftPair,
    WantedPart,
)
from custody.wire.outcomes import Outcome, OutcomeStatus, PreparedShare, PromisedShare
from custody.wire.requests import CopyKey, SignMessage
from custody.wire.signed_bytes import (
    BAN_ANSWER_TYPE,
    BAN_QUESTION_TYPE,
    BAN_TYPE,
    CONFIRMATION_TYPE,
    DELIVERY_TICKET_TYPE,
    PROMISE_TYPE,
)
from custody.wire.statements import Abandonment, Ban, Confirmation, MadeFor, Promise
from custody.wire.tickets import CeremonyKind, Participant, Protocol, Ticket
from tests.unit.wire.example_keys import JOB_SIGNER, SIGNER

NAMES = ("signer-1", "signer-2", "signer-3")
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEY_ID = UUID("7a3b1c5d-2e4f-4a6b-8c9d-0e1f2a3b4c55")
SIGNATURE_ID = UUID("d2c4e6a8-1b3d-4f5a-9c7e-8a6b4c2d0e66")
SHARES = UUID("3f5e7d9c-8b6a-4d2f-a1c3-5e7f9b1d3a77")
CEREMONY = UUID("9e8d7c6b-5a4f-4e3d-82c1-b0a9f8e7d688")
MEETING = UUID("1f0e2d3c-4b5a-4968-8776-a5b4c3d2e1f0")
PROMISED = UUID("c4d5e6f7-0a1b-4c2d-8e3f-4a5b6c7d8e9f")
PROOF = UUID("b7a6c5d4-e3f2-4b1a-90d8-c7b6a5f4e399")
PUBLIC_KEY = PrivateKey(bytes([7]) * 32).public_key.format()
COPY_ID = UUID("4c5d6e7f-8091-4a2b-b3c4-d5e6f7081920")
POINTS = [PrivateKey(bytes([number]) * 32).public_key.format() for number in range(11, 16)]
REQUEST = b'{"kind": "Message", "message": "hello"}'

SIGN = Job(
    id=SIGNATURE_ID,
    kind=JobKind.SIGN,
    group="mpc",
    key=KeyReference(
        id=KEY_ID,
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        network=Network.ETHEREUM,
        public_key=PUBLIC_KEY,
    ),
    endpoint=Endpoint.SIGNATURES,
    request=REQUEST,
    created_at=NOW,
    expires_at=NOW + timedelta(minutes=15),
)
PROVE = SIGN.model_copy(
    update={
        "id": PROOF,
        "step_of": KEY_ID,
        "kind": JobKind.PROVE_KEY.value,
        "endpoint": Endpoint.WALLETS,
        "request": b'{"network": "Ethereum", "store": "mpc", "signer_group": "treasury"}',
        "ceremony": SHARES,
    }
)
TICKET = Ticket(
    ceremony=CEREMONY,
    meeting=MEETING,
    secret=bytes(range(64, 96)),
    kind=CeremonyKind.SIGN,
    job_id=SIGNATURE_ID,
    job_digest=job_digest(SIGN.model_dump_json().encode()),
    key_id=KEY_ID,
    generation=0,
    share_set_id=SHARES,
    protocol=Protocol.DKLS23_SECP256K1,
    group="treasury",
    threshold=2,
    signers=list(NAMES),
    participants=[
        Participant(signer="signer-1", index=1),
        Participant(signer="signer-3", index=3),
    ],
    digest=eip191(SignMessage.model_validate_json(REQUEST).content),
    delivery="delivery-1",
    issued_at=NOW,
    expires_at=NOW + timedelta(seconds=15),
)
DELIVERY_TICKET = DeliveryTicket.of(TICKET)
SIGNED_DELIVERY_TICKET = JOB_SIGNER.sign(
    DELIVERY_TICKET_TYPE, DELIVERY_TICKET.model_dump_json().encode()
)
ABORT_REASON = bytes(range(68))
"""In place of one that is sealed with a random nonce."""
CONFIRMATION = Confirmation(
    key_id=KEY_ID,
    ceremony=SHARES,
    generation=0,
    protocol=Protocol.DKLS23_SECP256K1,
    group="treasury",
    threshold=2,
    signers=list(NAMES),
    public_key=PUBLIC_KEY,
    chain_code=bytes(range(32)),
    transcript=bytes(range(32, 64)),
    made_for=MadeFor(endpoint=Endpoint.WALLETS, external_id="order-7", application=None),
    signer="signer-1",
    index=1,
)
PROMISE = Promise(**CONFIRMATION.model_dump())

OLD_GROUP = KeyHolders(group="treasury", threshold=2, signers=NAMES)
NEW_GROUP = KeyHolders(group="zurich", threshold=2, signers=("signer-4", "signer-5"))
COPY = CopyKey(
    external_id="move-7",
    expires_at=NOW + timedelta(minutes=10),
    key_id=KEY_ID,
    store=Store.MPC,
    signer_group="zurich",
    threshold=2,
    signers=["signer-4", "signer-5"],
    held_by=OLD_GROUP,
)
DEALING = Dealing(
    key_id=KEY_ID,
    copy_id=COPY_ID,
    share_set_id=SHARES,
    generation=0,
    protocol=Protocol.DKLS23_SECP256K1,
    network=Network.ETHEREUM,
    public_key=PUBLIC_KEY,
    chain_code=bytes(range(32)),
    imported=False,
    dealt_by=OLD_GROUP,
    verifying_shares=tuple(POINTS[:3]),
    quorum=(1, 3),
    holders=NEW_GROUP,
    signer="signer-1",
    index=1,
    commitments=tuple(POINTS[3:]),
    sealed={"signer-4": bytes(range(48)), "signer-5": bytes(range(48, 96))},
)
"""Its points and sealed bytes are made up."""

BAN = Ban(
    key_id=KEY_ID,
    signer="signer-1",
    banned="signer-3",
    reason="the OT extension's check does not hold",
    ceremony=CEREMONY,
    at=NOW,
)
SIGNED_BAN = SIGNER.sign(BAN_TYPE, BAN.model_dump_json().encode())
BAN_QUESTION = BanQuestion(signer="signer-1", nonce=bytes(range(32)), at=NOW)
SIGNED_QUESTION = SIGNER.sign(BAN_QUESTION_TYPE, BAN_QUESTION.model_dump_json().encode())
BAN_ANSWER = BanAnswer(
    signer="signer-2",
    asker="signer-1",
    nonce=BAN_QUESTION.nonce,
    at=NOW,
    part=1,
    parts=1,
    is_asking=False,
    bans=(SIGNED_BAN,),
    sets=(
        SetInUse(
            key_id=KEY_ID,
            ceremony=SHARES,
            generation=0,
            threshold=2,
            signers=("signer-1", "signer-2", "signer-3"),
        ),
    ),
)
SIGNED_ANSWER = SIGNER.sign(BAN_ANSWER_TYPE, BAN_ANSWER.model_dump_json().encode())

MODELS: dict[str, Model] = {
    "ban-question": BAN_QUESTION,
    "ban-question-request": BanQuestionRequest(
        question=SIGNED_QUESTION, wanted=(WantedPart(signer="signer-2", part=1),)
    ),
    "ban-question-response": BanQuestionResponse(
        answers=(
            ArrivedPart(signer="signer-2", part=1, received_at=NOW, answer=SIGNED_ANSWER),
            ArrivedPart(signer="signer-3", part=1, received_at=NOW),
        ),
        bans=(SIGNED_BAN,),
        left_in_flight=(LeftPair(key_id=KEY_ID, signer="signer-2", since=NOW),),
    ),
    "ban-answer": BAN_ANSWER,
    "ban-answer-request": BanAnswerRequest(answer=SIGNED_ANSWER),
    "ban-answer-response": BanAnswerResponse(is_wanted=True),
    "ticket": TICKET,
    "delivery-ticket": DELIVERY_TICKET,
    "job-prove": PROVE,
    "confirmation": CONFIRMATION,
    "signed-copy": COPY,
    "dealing": DEALING,
    "abandonment": Abandonment(key_id=KEY_ID, ceremony=SHARES, signer="signer-1"),
    "ban": BAN,
    "outcome-prepared": Outcome(
        job_id=SHARES,
        node="signer-1",
        status=OutcomeStatus.DONE,
        result=PreparedShare(
            confirmation=SIGNER.sign(CONFIRMATION_TYPE, CONFIRMATION.model_dump_json().encode())
        ),
    ),
    "outcome-promised": Outcome(
        job_id=PROMISED,
        node="signer-1",
        status=OutcomeStatus.DONE,
        result=PromisedShare(promise=SIGNER.sign(PROMISE_TYPE, PROMISE.model_dump_json().encode())),
    ),
    "outcome-ceremony-failed": Outcome(
        job_id=SIGNATURE_ID,
        node="signer-1",
        status=OutcomeStatus.FAILED,
        code="peer_silent",
        reason="nothing came from signer-3 until the ceremony's deadline",
        transient=True,
        culprits=("signer-3",),
    ),
    "delivery-server": ServerFacts(
        name="delivery-1", version="0.1.0", time=datetime(2026, 3, 1, 12, tzinfo=UTC)
    ),
    "delivery-aborted": DeliveryProblem(
        code=DeliveryCode.ABORTED,
        detail="signer-3 has ended the ceremony",
        signer="signer-3",
        abort_reason=ABORT_REASON,
    ),
    "delivery-expired": DeliveryProblem(
        code=DeliveryCode.EXPIRED,
        detail="the ticket has expired",
        silent=["signer-3"],
    ),
}

HAND_IN = encode_hand_in(None, {"signer-3": b"to three"})
ANSWER = encode_messages({"signer-3": b"from three"})


def texts() -> dict[str, str]:
    """Bytes as hex digits."""
    return {
        "delivery-hand-in": HAND_IN.hex(),
        "delivery-answer": ANSWER.hex(),
        "delivery-abort": encode_abort(SIGNED_DELIVERY_TICKET, ABORT_REASON).hex(),
    }
