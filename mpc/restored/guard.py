"""What a running signer does because its database may have been restored from a backup."""

import asyncio
from dataclasses import dataclass

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.node.health import Part
from custody.runtime.activities import Activity
from custody.wire.signed_bytes import SigningKey
from mpc.bans.bans import Bans
from mpc.bans.earned_bans import EarnedBans
from mpc.restored.answering import Answering
from mpc.restored.asking import Asking
from mpc.restored.kept_heads import KeptHeads
from mpc.restored.marks import Marks
from mpc.restored.watch import RestoreWatch
from mpc.settings import SignerSettings

START_SECONDS = 3.0


@dataclass(frozen=True)
class RestoreGuard:
    """Notices a restore of this signer's database, asks the peers, and answers theirs."""

    watch: RestoreWatch
    bans: Bans
    heads: KeptHeads
    asking: Asking
    answering: Answering

    async def start(self) -> None:
        """Compare the database with the state directory and the control plane's audit heads.

        What does not succeed now is retried by an activity. Until then this signer takes no work.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.watch.renew()
                await self.heads.compare()
        except Exception as error:
            known = TimeoutError | ControlPlaneUnavailable | ControlPlaneRefused
            if not isinstance(error, known) and not is_transient(error):
                raise

    def parts(self) -> list[Part]:
        """Return the parts of the signer's health."""
        return [
            Part("restore", self.watch.problem),
            Part("kept audit heads", self.heads.problem),
            Part("mark", self.watch.fault, stops_work=False),
        ]

    def activities(self) -> list[Activity]:
        """Return what runs beside the signer's loop."""
        return [
            self.watch.renew_repeatedly,
            self.heads.compare_repeatedly,
            self.asking.ask_repeatedly,
            self.answering.answer_repeatedly,
        ]


def new_restore_guard(
    settings: SignerSettings, database: Pool, signer: SigningKey, client: ControlPlaneClient
) -> RestoreGuard:
    """Return the guard of a signer, which has not compared anything yet."""
    me, state = settings.node.id, settings.node.state_directory
    watch = RestoreWatch(database, me, Marks(state))
    bans = Bans(database, me, signer, EarnedBans(state), watch.renew)
    heads = KeptHeads(database, me, signer, client, watch)
    asking = Asking(database, me, signer, client, watch, bans)
    answering = Answering(
        database, me, signer, client, watch, lambda: watch.problem() or heads.problem()
    )
    return RestoreGuard(watch, bans, heads, asking, answering)
