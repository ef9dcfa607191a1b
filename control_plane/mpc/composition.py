"""The parts of MPC mode, put together."""

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.database import Database
from control_plane.mpc.conductor import Conductor
from control_plane.mpc.groups import SignerGroups
from control_plane.mpc.metrics import StepMetrics
from control_plane.mpc.settings import CeremoniesSection
from control_plane.mpc.step_making import StepMaker
from control_plane.mpc.tasks import Tasks
from control_plane.notifications import Notifications
from control_plane.queue import Queue
from wire.envelope import Signer


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


def put_together(
    database: Database,
    notifications: Notifications,
    queue: Queue,
    signer: Signer,
    options: MpcOptions,
    metrics: StepMetrics,
) -> Mpc:
    """``signer``: of jobs and tickets."""
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
