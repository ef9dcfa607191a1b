"""Client library: wallets, keys and signatures, from threads (Custody) or asyncio (AsyncCustody).

>>> from custody.client import Custody, Network
>>> with Custody.from_environment() as custody:
...     wallet = custody.create_wallet(Network.ETHEREUM)
...     signature = custody.sign_message(wallet.key_id, "hello")

Every POST carries an external id, or (a signer group) a name of its own, every PATCH says how a
field must be, and every GET changes nothing: whatever fails on the way is safe to send again. For
``patience`` seconds it is: after lost and broken connections, and after status 408, 429, 502, 503
and 504 with any body, since a gateway before the service may answer so. Retry-After is kept to, as
far as patience goes.

A newer service may answer with fields and values that this version does not know. Unknown fields
are ignored. An unknown status, network, protection or the like is an Unknown, whose text is what
the service said; a request whose status is Unknown is not taken for final.
"""

from custody.client.audit import VerifiedAudit, verify_audit_records
from custody.client.client import AsyncCustody, Custody
from custody.client.errors import (
    AuditNotVerified,
    ChangeUnderWay,
    CustodyError,
    Ended,
    ExternalIdConflict,
    ExternalIdSpent,
    Failed,
    GatewayAnswer,
    ImportNotUsable,
    InvalidRequest,
    KeyArchived,
    KeyNotActive,
    MissingScope,
    NotAttested,
    NotFinal,
    NotFound,
    Refused,
    Rejected,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    Unsupported,
    Untrusted,
)
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.private_key import PrivateKey
from custody.client.pinned_nodes import read_pinned_nodes
from custody.client.unchanged import Unchanged
from custody.wire.algorithms import (
    AddressType,
    Curve,
    HashFunction,
    Network,
    Protection,
    Scheme,
    Store,
)
from custody.wire.answers import Unknown
from custody.wire.attestations import PinnedGroup, PinnedNodes
from custody.wire.resources import (
    AuditRecord,
    ChangeStatus,
    Key,
    KeyChange,
    KeyStatus,
    LatestHead,
    Node,
    Reason,
    RegisteredSigner,
    Signature,
    SignatureStatus,
    SignerGroup,
    Wallet,
)
from custody.wire.signatures import SignatureResult

__all__ = [
    "AddressType",
    "AsyncCustody",
    "AuditNotVerified",
    "AuditRecord",
    "BadPrivateKey",
    "ChangeStatus",
    "ChangeUnderWay",
    "Curve",
    "Custody",
    "CustodyError",
    "Ended",
    "ExternalIdConflict",
    "ExternalIdSpent",
    "Failed",
    "GatewayAnswer",
    "HashFunction",
    "ImportNotUsable",
    "InvalidRequest",
    "Key",
    "KeyArchived",
    "KeyChange",
    "KeyFault",
    "KeyFormat",
    "KeyNotActive",
    "KeyStatus",
    "LatestHead",
    "MissingScope",
    "Network",
    "Node",
    "NotAttested",
    "NotFinal",
    "NotFound",
    "PinnedGroup",
    "PinnedNodes",
    "PrivateKey",
    "Protection",
    "Reason",
    "Refused",
    "RegisteredSigner",
    "Rejected",
    "Scheme",
    "Signature",
    "SignatureResult",
    "SignatureStatus",
    "SignerGroup",
    "Store",
    "Unauthenticated",
    "Unavailable",
    "Unchanged",
    "UnexpectedAnswer",
    "Unknown",
    "Unreachable",
    "Unsupported",
    "Untrusted",
    "VerifiedAudit",
    "Wallet",
    "read_pinned_nodes",
    "read_private_key",
    "verify_audit_records",
]
