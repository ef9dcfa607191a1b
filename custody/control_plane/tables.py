"""The control plane's tables.

A signature is a Sign job, and a key's life is the job that made it: there is one state column,
``jobs.state``, which only jobs/queries.py writes. What the API shows is read from it. In
MPC mode a request is a job that no node claims. It is done in steps, each a ceremony or an order,
and the signers claim the tasks of these.
"""

from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from custody.database.engine import NAMES
from custody.database.probe_table import add_probe_table
from custody.database.retention_table import add_retention_table

metadata = MetaData(naming_convention=NAMES)
add_probe_table(metadata)
add_retention_table(metadata)
add_retention_table(metadata, "node_audit_retention")


MAKES_KEYS = "('GenerateKey', 'ImportKey', 'CopyKey')"
"""SQL: the kinds of the jobs that make a key. The key and its job have the same id."""


class JobState(StrEnum):
    QUEUED = "Queued"
    LEASED = "Leased"
    DONE = "Done"
    DENIED = "Denied"
    FAILED = "Failed"


TRANSITIONS = {
    # claimed; expired; or reported after its lease had lapsed
    JobState.QUEUED: {JobState.LEASED, JobState.FAILED, JobState.DONE, JobState.DENIED},
    # reported; or lapsed, or failed in a way worth another attempt
    JobState.LEASED: {JobState.DONE, JobState.DENIED, JobState.FAILED, JobState.QUEUED},
    JobState.DONE: set(),
    JobState.DENIED: set(),
    JobState.FAILED: set(),
}


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


applications = Table(
    "applications",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    _created_at(),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("application_id", Uuid, ForeignKey("applications.id"), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of a 256-bit random token
    Column("scopes", ARRAY(String), nullable=False),
    _created_at(),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String, primary_key=True),
    Column("node_group", String, nullable=False, index=True),
    Column("version", String),
    Column("capabilities", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("health", JSONB),
    Column("identity_public_key", LargeBinary),
    Column("owner", String),  # whose signer it is, as the operator says
    Column("slots", Integer, nullable=False, server_default=text("1")),
    Column("has_gate", Boolean, nullable=False, server_default=false()),
    # delivery servers that this signer cannot meet others at, by name, with why
    Column("delivery_problems", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # ids of the job-signing keys that it pins, as its last heartbeat said; null if it did not say
    Column("job_signing_keys", ARRAY(String)),
    # ids of the job-signing keys that delivery servers pin, by name, as they told this signer
    Column("delivery_job_signing_keys", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # begin of the last step in which it left its task undone: it is away until it beats again
    Column("silent_since", DateTime(timezone=True)),
    # pairs that a stop of this signer left in the middle of signing, as its last heartbeat said
    Column("left_in_flight", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("audit_alarm", String),  # why its audit chain is in doubt
    # whether a restored database explains all of that, so that an admin may acknowledge it
    Column("audit_alarm_is_gap", Boolean, nullable=False, server_default=true()),
    # of its rows in node_audit_records, as audit/space.py counts; a node may store no more
    Column("audit_record_bytes", BigInteger, nullable=False, server_default=text("0")),
    # as its last heartbeat said; an earlier version does not say
    Column("sends_audit_records", Boolean, nullable=False, server_default=false()),
    # the node is let in with certificates that are valid from this moment or a later one
    Column("certificates_from", DateTime(timezone=True)),
    _created_at(),
    Column("last_seen", DateTime(timezone=True)),
)

removed_nodes = Table(  # ids that were registered once, so that old certificates may name them
    "removed_nodes",
    metadata,
    Column("id", String, primary_key=True),
    Column("removed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

signer_groups = Table(
    "signer_groups",
    metadata,
    Column("name", String, primary_key=True),
    Column("threshold", Integer, nullable=False),
    _created_at(),
)

signer_group_members = Table(
    "signer_group_members",
    metadata,
    Column("group_name", String, ForeignKey("signer_groups.name"), primary_key=True),
    Column("share_index", Integer, primary_key=True),  # 1 to n
    Column("signer", String, nullable=False),  # of nodes; stays when the node is removed
    UniqueConstraint("group_name", "signer"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("application_id", Uuid, ForeignKey("applications.id"), nullable=False),
    Column("node_group", String, nullable=False),
    Column("store", String, nullable=False),
    Column("scheme", String, nullable=False),
    Column("curve", String, nullable=False),
    Column("network", String),
    Column("public_key", LargeBinary),
    Column("protection", String),
    Column("attestations", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    # of store mpc
    Column("signer_group", String, ForeignKey("signer_groups.name")),
    Column("root_id", Uuid, ForeignKey("keys.id")),  # of a derived key, as its path
    Column("path", ARRAY(BigInteger)),
    Column("chain_code", LargeBinary),
    Column("generation", Integer),
    Column("share_set_id", Uuid),  # the ceremony that made the set of shares in use
    # a refresh whose set is coming into use: the signers that use it already
    Column("next_share_set_id", Uuid),
    Column("next_users", ARRAY(String), nullable=False, server_default=text("'{}'::varchar[]")),
    # the private key, or that of the root, came from the application
    Column("imported", Boolean, nullable=False, server_default=false()),
    # the key that other signers hold; a restored database may not know that key
    Column("copied_from", Uuid),
    Column("name", String),
    Column("archived_at", DateTime(timezone=True)),  # when all its holders had archived it
    Column("archiving", Uuid),  # its last request to archive it, which counts while it is open
    Column(
        "is_archived", Boolean, Computed("archived_at IS NOT NULL", persisted=True), nullable=False
    ),
    _created_at(),
    UniqueConstraint("id", "is_archived"),  # for the foreign key of wallets
)
Index(  # few: each new signature asks for them
    "ix_keys_archived",
    func.coalesce(keys.c.root_id, keys.c.id),
    postgresql_where=keys.c.archived_at.is_not(None) | keys.c.archiving.is_not(None),
)
for _state, _is_archived in (
    ("archived", keys.c.archived_at.is_not(None)),
    ("unarchived", keys.c.archived_at.is_(None)),
):
    Index(
        f"ix_keys_application_id_{_state}_created_at_id",
        keys.c.application_id,
        keys.c.created_at,
        keys.c.id,
        postgresql_where=_is_archived,
    )
Index("ix_keys_copied_from", keys.c.copied_from, postgresql_where=keys.c.copied_from.is_not(None))
Index("ix_keys_application_id_created_at_id", keys.c.application_id, keys.c.created_at, keys.c.id)
for _filter in ("network", "store", "scheme", "curve"):  # of a list: finds rare values
    Index(
        f"ix_keys_application_id_{_filter}_created_at_id",
        keys.c.application_id,
        keys.c[_filter],
        keys.c.created_at,
        keys.c.id,
    )

wallets = Table(
    "wallets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("application_id", Uuid, ForeignKey("applications.id"), nullable=False),
    Column("network", String, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("address", String),
    # the key's, so that lists by holder, store or archival have indexes in their order
    Column("node_group", String, nullable=False),
    Column("signer_group", String),
    Column("store", String, nullable=False),
    Column("is_archived", Boolean, nullable=False, server_default=false()),
    Column("name", String),
    _created_at(),
    UniqueConstraint("key_id", "network"),
    # PostgreSQL copies each change of the key's is_archived. A statement that wrote both would miss
    # a wallet that another transaction adds meanwhile. The other copied facts never change
    ForeignKeyConstraint(
        ["key_id", "is_archived"], ["keys.id", "keys.is_archived"], onupdate="CASCADE"
    ),
)
for _name, _filters, _condition in (
    ("", (), None),
    ("network_", ("network",), None),
    ("store_", ("store",), None),
    ("archived_", (), "is_archived"),
    ("unarchived_", (), "NOT is_archived"),
    ("archived_network_", ("network",), "is_archived"),
    ("archived_store_", ("store",), "is_archived"),
):
    Index(
        f"ix_wallets_application_id_{_name}created_at_id",
        wallets.c.application_id,
        *(wallets.c[_filter] for _filter in _filters),
        wallets.c.created_at,
        wallets.c.id,
        postgresql_where=None if _condition is None else text(_condition),
    )
Index("ix_wallets_application_id_address", wallets.c.application_id, wallets.c.address)

for _listed in (keys, wallets):
    for _filter, _condition in (
        ("name", "name IS NOT NULL"),
        ("signer_group", "signer_group IS NOT NULL"),
        ("node_group", "signer_group IS NULL"),
    ):
        Index(
            f"ix_{_listed.name}_application_id_{_filter}_created_at_id",
            _listed.c.application_id,
            _listed.c[_filter],
            _listed.c.created_at,
            _listed.c.id,
            postgresql_where=text(_condition),
        )


def _tags_of(table: Table, name: str, subject: str) -> Table:
    """Return the table of a resource's tags. Its index has a tag's resources in a list's order."""
    tags = Table(
        name,
        metadata,
        Column(subject, Uuid, ForeignKey(table.c.id), primary_key=True),
        Column("tag", String, primary_key=True),
        Column("application_id", Uuid, nullable=False),  # the resource's, as created_at
        Column("created_at", DateTime(timezone=True), nullable=False),
    )
    Index(
        f"ix_{name}_application_id_tag_created_at_{subject}",
        tags.c.application_id,
        tags.c.tag,
        tags.c.created_at,
        tags.c[subject],
    )
    return tags


wallet_tags = _tags_of(wallets, "wallet_tags", "wallet_id")
key_tags = _tags_of(keys, "key_tags", "key_id")

jobs = Table(
    "jobs",
    metadata,
    # the key's id for a job that makes a key, the signature's for Sign, or the import's
    Column("id", Uuid, primary_key=True),
    Column("kind", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("application_id", Uuid, ForeignKey("applications.id"), nullable=False),
    Column("key_id", Uuid, ForeignKey("keys.id")),  # of PrepareImport: the key that used the import
    Column("node_group", String, nullable=False),
    Column("external_id", String),
    Column(
        "body_digest", LargeBinary, nullable=False
    ),  # what the same external id must bring again
    # the job, as signed: custody.wire.signed_bytes.SignedBytes; empty once its ciphertexts are gone
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("run_after", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("lease", Uuid),
    Column("lease_node", String),
    Column("lease_until", DateTime(timezone=True)),
    Column("refused_by", ARRAY(String), nullable=False, server_default=text("'{}'::varchar[]")),
    Column("last_node", String),  # had it last, and failed it or let its lease lapse
    # the node has extended this lease, so the answer to its claim reached it
    Column("lease_received", Boolean, nullable=False, server_default=false()),
    # received leases that lapsed since the last report
    Column("lapses", Integer, nullable=False, server_default=text("0")),
    Column("last_failure", LargeBinary),  # Outcome of the last attempt worth another
    Column("outcome", LargeBinary),  # the final Outcome; never changes once it is there
    Column("late_outcome", LargeBinary),  # came after expiry; for admins
    Column("traceparent", String),  # W3C trace context of the request, if it is traced
    Column("must_finish", Boolean, nullable=False, server_default=false()),  # whatever its expiry
    _created_at(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    UniqueConstraint("application_id", "endpoint", "external_id"),
)
Index(
    "ix_jobs_claimable",
    jobs.c.node_group,
    jobs.c.run_after,
    postgresql_where=jobs.c.state == JobState.QUEUED.value,
)
Index("ix_jobs_leased", jobs.c.lease_until, postgresql_where=jobs.c.state == JobState.LEASED.value)
Index("ix_jobs_unfinished", jobs.c.expires_at, postgresql_where=jobs.c.finished_at.is_(None))
Index(  # few, beside the jobs to sign: a restored node asks for them
    "ix_jobs_finished_changes",
    jobs.c.node_group,
    jobs.c.finished_at,
    postgresql_where=(jobs.c.kind != "Sign") & jobs.c.finished_at.is_not(None),
)
Index(  # the retention takes the oldest first
    "ix_jobs_finished_signatures",
    jobs.c.finished_at,
    jobs.c.id,
    postgresql_where=(jobs.c.kind == "Sign") & jobs.c.finished_at.is_not(None),
)
Index(  # for the same, and for the ciphertexts in requests of imported and copied keys
    "ix_jobs_finished_imports",
    jobs.c.finished_at,
    jobs.c.id,
    postgresql_where=text(
        "kind IN ('PrepareImport', 'ImportKey', 'CopyKey') AND payload <> ''"
        " AND finished_at IS NOT NULL"
    ),
)
Index(
    "ix_jobs_key_id_kind_created_at_id",
    jobs.c.key_id,
    jobs.c.kind,
    jobs.c.created_at,
    jobs.c.id,
)
Index(  # few beside the signed ones: a list with a status asks for them
    "ix_jobs_failed_signatures",
    jobs.c.key_id,
    jobs.c.created_at,
    jobs.c.id,
    postgresql_where=text("kind = 'Sign' AND state IN ('Denied', 'Failed')"),
)
Index(
    "ix_jobs_failed_keys",
    jobs.c.application_id,
    jobs.c.created_at,
    jobs.c.id,
    postgresql_where=text(f"kind IN {MAKES_KEYS} AND state IN ('Denied', 'Failed')"),
)

spent_external_ids = Table(  # of pruned signatures: no request gets such a name again
    "spent_external_ids",
    metadata,
    Column("application_id", Uuid, ForeignKey("applications.id"), primary_key=True),
    Column("endpoint", String, primary_key=True),
    Column("external_id", String, primary_key=True),
    Column("request_id", Uuid, nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
    Column("spent_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

steps = Table(
    "steps",
    metadata,
    Column("id", Uuid, primary_key=True),  # of its ceremony, or order
    Column("request_id", Uuid, ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),  # within its request, from 1
    Column("kind", String, nullable=False),  # custody.wire.jobs.JobKind
    Column("job_id", Uuid, nullable=False),  # the request's own for Sign, else this step's
    Column("share_set_id", Uuid),  # the set of shares that it makes, uses or is about
    # its job, as signed; null for Sign, which is the request's
    Column("payload", LargeBinary),
    Column("signature", LargeBinary),
    Column("signing_key_id", String),
    # its tickets, as signed by one key; null for an order
    Column("ticket", LargeBinary),
    Column("ticket_signature", LargeBinary),
    Column("ticket_key_id", String),
    Column("delivery_ticket", LargeBinary),
    Column("delivery_signature", LargeBinary),
    _created_at(),
    Column("deadline", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("ending", String),
    Column("culprits", ARRAY(String), nullable=False, server_default=text("'{}'::varchar[]")),
    Column("is_unsettled", Boolean, nullable=False, server_default=false()),  # shares may be left
    UniqueConstraint("request_id", "number"),
)
Index("ix_steps_open", steps.c.deadline, postgresql_where=steps.c.ended_at.is_(None))
Index("ix_steps_unsettled", steps.c.request_id, postgresql_where=steps.c.is_unsettled)
Index("ix_steps_job_id", steps.c.job_id)

tasks = Table(
    "tasks",
    metadata,
    Column("step_id", Uuid, ForeignKey("steps.id"), primary_key=True),
    Column("signer", String, primary_key=True),
    Column("is_open", Boolean, nullable=False, server_default=true()),  # it takes up a slot
    Column("lease", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("outcome", LargeBinary),  # as the signer reported it, and as far as it was accepted
    Column("reported_at", DateTime(timezone=True)),
)
Index("ix_tasks_open", tasks.c.signer, postgresql_where=tasks.c.is_open)

bans = Table(
    "bans",
    metadata,
    Column("key_id", Uuid, primary_key=True),  # the root's
    Column("signer", String, primary_key=True),  # who bans
    Column("banned", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    # a Ban, as the signer signed it
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

ban_questions = Table(  # of signers whose databases were restored, while answers are missing
    "ban_questions",
    metadata,
    Column("signer", String, ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True),
    Column("nonce", LargeBinary, nullable=False),
    # a BanQuestion, as the signer signed it
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

ban_answers = Table(
    "ban_answers",
    metadata,
    Column(
        "asker", String, ForeignKey("ban_questions.signer", ondelete="CASCADE"), primary_key=True
    ),
    Column("signer", String, primary_key=True),  # who answers
    Column("part", Integer, primary_key=True),
    Column("nonce", LargeBinary, nullable=False),
    # a BanAnswer, as the signer signed it
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

audit_restores = Table(  # a node's databases restored from a backup; rows are never deleted
    "audit_restores",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # from 1
    # a Restored, as the node signed it, with both heads in it
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("claimed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("acknowledged_by", String),
    Column("acknowledged_reason", String),
    Column("alarm", String),  # as it was when it was acknowledged
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),  # of two for one sequence both are evidence
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("set_aside_by", Integer),  # number of the restore that cost this record
)

node_audit_records = Table(  # as nodes send them, if their owners let them
    "node_audit_records",
    metadata,
    Column("node_id", String, ForeignKey("nodes.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),  # a restored node has others for old numbers
    Column("previous_hash", LargeBinary, nullable=False),
    Column("kind", String, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the exact bytes that the hash covers
    # its AuditHead, as the node signed it; only of the last record of each request
    Column("payload", LargeBinary),
    Column("signature", LargeBinary),
    Column("signing_key_id", String),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("set_aside_by", Integer),  # number of the restore that cost this record
)
Index(  # few, beside the signatures: a list with a kind asks for them
    "ix_node_audit_records_not_sign",
    node_audit_records.c.node_id,
    node_audit_records.c.kind,
    node_audit_records.c.sequence,
    postgresql_where=text("kind <> 'Sign'"),
)

audit = Table(  # what the control plane's operators did; rows are never deleted
    "audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    # its AuditHead, as the job-signing key signed it
    Column("payload", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
)
