"""The tables of a signer's database."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    false,
)

from custody.database.engine import NAMES
from custody.node.tables import add_node_tables, now

metadata = MetaData(naming_convention=NAMES)
journal, audit = add_node_tables(metadata)

peers = Table(
    "peers",
    metadata,
    Column("signer", String, primary_key=True),
    Column("identity_public_key", LargeBinary, nullable=False, unique=True),  # Ed25519
    now("added_at"),
)

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("check_value", LargeBinary, nullable=False),
    now("first_seen"),
)

former_encryption_keys = Table(  # a key that returns keeps its age
    "former_encryption_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("first_seen", DateTime(timezone=True), nullable=False),
    now("unused_since"),
)

SHARE_STATES = (
    "confirmed",  # stored, and this signer has confirmed it
    "promised",  # has signed; kept until t other signers have abandoned the set
    "active",  # signs
    "repaired",  # made by Repair; signs nothing, and the next Refresh replaces it
    "retired",  # erased: another set has replaced it
    "discarded",  # erased: t other signers have abandoned the set
    "abandoned",  # erased or never stored: this signer will never promise the set
    "erased",  # by an operator, with all sets of the key: the signer gets no share of it any more
)
shares = Table(
    "shares",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("ceremony", Uuid, primary_key=True),  # the ceremony that made the set of shares
    Column("state", String, nullable=False),
    Column("generation", Integer),
    Column("protocol", String),
    Column("group_name", String),
    Column("threshold", Integer),
    Column("signers", ARRAY(String)),  # all n, in order of their index
    Column("share_index", Integer),
    Column("network", String),  # of the root's wallet
    Column("public_key", LargeBinary),
    Column("chain_code", LargeBinary),  # BIP-32; null where the protocol has none
    Column("transcript", LargeBinary),
    Column("made_for", String),  # JSON of a MadeFor; null where it is not known
    Column("proved_with", ARRAY(String), nullable=False, server_default="{}"),
    Column(  # it has signed; in DKLs23 with every other signer, since each pair has its own set-up
        "proved",
        Boolean,
        Computed(
            "CASE protocol WHEN 'dkls23-secp256k1'"
            " THEN signers <@ (proved_with || signers[share_index])"
            " ELSE cardinality(proved_with) > 0 END",
            persisted=True,
        ),
        nullable=False,
    ),
    Column("data_key", LargeBinary),  # wrapped by the encryption key
    Column("ciphertext", LargeBinary),
    Column("encryption_key", String, ForeignKey("encryption_keys.id")),
    # restored, and not named by t signers since: another set may be in use
    Column("uncertain", Boolean, nullable=False, server_default=false()),
    now("created_at"),
    now("changed_at"),
    CheckConstraint(f"state IN {SHARE_STATES}", name="ck_shares_state"),
    CheckConstraint(  # a share that is not in use is erased
        "num_nonnulls(data_key, ciphertext, encryption_key)"
        " = CASE WHEN state IN ('confirmed', 'promised', 'active', 'repaired') THEN 3 ELSE 0 END",
        name="ck_shares_erased",
    ),
    CheckConstraint(  # this signer knows no facts of a set that it never made
        "state = 'abandoned' OR num_nonnulls(generation, protocol, group_name,"
        " threshold, signers, share_index, public_key, transcript) = 8",
        name="ck_shares_facts",
    ),
)
Index(
    "uq_shares_in_use",
    shares.c.key_id,
    unique=True,
    postgresql_where=shares.c.state.in_(("active", "repaired")),
)
Index(  # With two sets that all n have promised, signers could be told to activate different sets.
    "uq_shares_waiting",
    shares.c.key_id,
    unique=True,
    postgresql_where=shares.c.state.in_(("confirmed", "promised")),
)
Index("ix_shares_encryption_key", shares.c.encryption_key)

import_keys = Table(  # one-time keys, to which an application or another signer group encrypts
    "import_keys",
    metadata,
    Column("import_id", Uuid, primary_key=True),
    Column("statement", LargeBinary, nullable=False),  # the ImportKeyStatement, as it was signed
    Column("key_id", Uuid),  # the key that is imported with it; null until then
    Column("data_key", LargeBinary, nullable=False),  # wrapped by the encryption key
    Column("ciphertext", LargeBinary, nullable=False),  # the private half
    Column("encryption_key", String, ForeignKey("encryption_keys.id"), nullable=False),
    now("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
Index("ix_import_keys_expires_at", import_keys.c.expires_at)
Index("ix_import_keys_key_id", import_keys.c.key_id)

share_copies = Table(
    "share_copies",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("ceremony", Uuid, primary_key=True),
    Column("place", String, primary_key=True),  # URL of the bucket and the prefix
    Column("customer_key", String, primary_key=True),  # fingerprint
    Column("name", String, nullable=False),  # of the object
    Column("content", LargeBinary),  # encrypted to the customer key; null once the bucket has it
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_fault", String),
    now("retry_at"),
    now("created_at"),
    Column("stored_at", DateTime(timezone=True)),
    CheckConstraint("num_nonnulls(content, stored_at) = 1", name="ck_share_copies_content"),
)
Index(
    "ix_share_copies_waiting",
    share_copies.c.retry_at,
    postgresql_where=share_copies.c.stored_at.is_(None),
)

used_tickets = Table(
    "used_tickets",
    metadata,
    Column("ceremony", Uuid, primary_key=True),
    now("used_at"),
)
Index("ix_used_tickets_used_at", used_tickets.c.used_at)

in_flight = Table(
    "in_flight",
    metadata,
    Column("key_id", Uuid, primary_key=True),  # the root key's id
    Column("signer", String, primary_key=True),
    Column("ceremony", Uuid, primary_key=True),
    Column("process", Uuid),  # that removes it; null: nobody knows what the ceremony gave away
    now("begun_at"),
)

cleared = Table(  # what was left in flight, once an operator has looked
    "cleared",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("signer", String, primary_key=True),
    Column("ceremony", Uuid, primary_key=True),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("operator", String, nullable=False),
    Column("reason", String, nullable=False),
    now("cleared_at"),
)

bans = Table(
    "bans",
    metadata,
    Column("key_id", Uuid, primary_key=True),  # the root key's id
    Column("signer", String, primary_key=True),  # who bans
    Column("banned", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("payload", LargeBinary, nullable=False),  # a Ban, signed by who bans
    Column("signature", LargeBinary, nullable=False),
    Column("signing_key_id", String, nullable=False),
    now("learned_at"),
)

restore_watch = Table(  # one row: whether this database is the one that worked here last
    "restore_watch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mark", Uuid, nullable=False),  # the state directory has the same one
    # the last time that this database was noticed to be restored, by the database's clock
    Column("noticed_at", DateTime(timezone=True)),
    Column("tickets_from", DateTime(timezone=True)),  # the same moment, by this host's clock
    Column("why", String),
    Column("nonce", LargeBinary),  # of the question to the peers; null: nothing is asked
    Column("answered_at", DateTime(timezone=True)),  # when the last peer's answer came
    Column("lost_head", LargeBinary),  # hash of the kept audit head that this database lacks
    CheckConstraint("id = 1", name="ck_restore_watch_one_row"),
)

restore_answers = Table(  # the peers that need not be asked any more
    "restore_answers",
    metadata,
    Column("signer", String, primary_key=True),
    Column("nonce", LargeBinary, nullable=False),
    Column("bans", Integer, nullable=False),  # how many bans the answer contained
    # signers of the share sets that the answer names: they are asked as well
    Column("named", ARRAY(String), nullable=False, server_default="{}"),
    Column("operator", String),  # who decided to do without the answer
    Column("reason", String),
    now("answered_at"),
)

needed_repairs = Table(  # keys of which t peers use a later share set than this database has
    "needed_repairs",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("ceremony", Uuid, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("threshold", Integer, nullable=False),
    Column("told_by", ARRAY(String), nullable=False),
    now("noticed_at"),
)

repair_approvals = Table(
    "repair_approvals",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("signer", String, primary_key=True),  # whose share is to be repaired
    Column("operator", String, nullable=False),
    Column("reason", String, nullable=False),
    now("approved_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
