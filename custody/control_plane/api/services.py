"""The parts that routes use; built in custody/control_plane/serve.py."""

from collections.abc import Callable
from dataclasses import dataclass

from custody.control_plane.access.tokens import Tokens
from custody.control_plane.audit.reading import AuditReader
from custody.control_plane.audit.restores import AuditRestores
from custody.control_plane.conductor.groups import SignerGroups
from custody.control_plane.database import Database
from custody.control_plane.jobs.new_jobs import JobMaker
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.resources.changes import Changes
from custody.control_plane.resources.creation import Creation
from custody.control_plane.resources.groups import Groups
from custody.control_plane.resources.imports import Imports
from custody.control_plane.resources.keys import Keys
from custody.control_plane.resources.signatures import Signatures
from custody.control_plane.resources.wallets import Wallets


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    tokens: Tokens
    keys: Keys
    wallets: Wallets
    signatures: Signatures
    changes: Changes
    imports: Imports
    groups: Groups
    audit: AuditReader
    audit_restores: AuditRestores
    signer_groups: SignerGroups
    job_maker: JobMaker
    creation: Creation
    notifications: Notifications
    certificate_problem: Callable[[], str | None] = lambda: None
