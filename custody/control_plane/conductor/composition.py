"""Builds what the control plane has for MPC mode."""

from collections.abc import Sequence
from dataclasses import dataclass

from custody.control_plane.conductor.conductor import Conductor
from custody.control_plane.conductor.groups import SignerGroups
from custody.control_plane.conductor.metrics import StepMetrics
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.conductor.step_making import StepMaker
from custody.control_plane.conductor.tasks import Tasks
from custody.control_plane.database import Database
from custody.control_plane.jobs.notifications import Notifications
from custody.control_plane.jobs.queue import Queue
from custody.wire.signed_bytes import SigningKey


@dataclass(frozen=True, slots=True)
class MpcOptions:
    """``node_group``: of all signers; ``lifetime_seconds``: of a request."""

    node_group: str
    delivery_servers: Sequence[str]
    ceremonies: CeremoniesSection
    lifetime_seconds: int


@dataclass(frozen=True, slots=True)
class Mpc:
    """``conductor`` is to be run, and swept."""

    groups: SignerGroups
    conductor: Conductor
    tasks: Tasks


def build_conductor(
    database: Database,
    notifications: Notifications,
    queue: Queue,
    signer: SigningKey,
    options: MpcOptions,
    metrics: StepMetrics,
) -> Mpc:
    """Build the conductor and its parts. ``signer``: the key that signs jobs and tickets."""
    has_delivery = bool(options.delivery_servers)
    groups = SignerGroups(database, options.node_group, has_delivery)
    maker = StepMaker(
        signer, options.ceremonies, options.delivery_servers, options.lifetime_seconds
    )
    conductor = Conductor(
        database=database,
        notifications=notifications,
        queue=queue,
        node_group=options.node_group,
        groups=groups,
        maker=maker,
        settings=options.ceremonies,
        metrics=metrics,
    )
    tasks = Tasks(
        database=database,
        notifications=notifications,
        queue=queue,
        conductor=conductor,
        node_group=options.node_group,
        metrics=metrics,
        max_clock_offset_seconds=options.ceremonies.max_clock_offset_seconds,
    )
    return Mpc(groups, conductor, tasks)
