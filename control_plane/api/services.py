"""What the routes are made of; put together in control_plane/serve.py."""

from dataclasses import dataclass

from control_plane.audit_restores import AuditRestores
from control_plane.changes import Changes
from control_plane.creation import Creation
from control_plane.database import Database
from control_plane.groups import Groups
from control_plane.keys import Keys
from control_plane.mpc.groups import SignerGroups
from control_plane.new_jobs import JobMaker
from control_plane.notifications import Notifications
from control_plane.signatures import Signatures
from control_plane.tokens import Tokens
from control_plane.wallets import Wallets


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    tokens: Tokens
    keys: Keys
    wallets: Wallets
    signatures: Signatures
    changes: Changes
    groups: Groups
    audit_restores: AuditRestores
    signer_groups: SignerGroups
    job_maker: JobMaker
    creation: Creation
    notifications: Notifications
