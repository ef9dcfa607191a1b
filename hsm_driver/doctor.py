"""`doctor`: everything that a driver needs, tried; and what to do about what is not there."""

from collections.abc import AsyncIterator

from daemon.checks import Check, Status, failed
from daemon.errors import OperatorError
from hsm_driver.configuration import hsm_settings
from hsm_driver.driver import open_hsm
from hsm_driver.hsm.doctor import hsm_checks
from hsm_driver.settings import DriverSettings
from hsm_driver.vault import Vault
from node.connections import open_database
from node.doctor import control_plane_checks, host_checks
from node.lock_checks import lock_checks
from wire.algorithms import Store


async def checks(settings: DriverSettings) -> AsyncIterator[Check]:
    """Each check as soon as it is made. None of them changes anything."""
    for check in host_checks(settings):
        yield check
    async for check in hsm_checks(hsm_settings(settings, workers=1)):
        yield check
    async for check in _database(settings):
        yield check
    async for check in lock_checks(settings, Store.HSM):
        yield check
    async for check in control_plane_checks(settings):
        yield check


async def _database(settings: DriverSettings) -> AsyncIterator[Check]:
    name = "database"
    try:
        async with open_database(settings) as database:
            yield Check(name, Status.OK, "reached, schema is this version's")
            name = "master key and database"
            async with open_hsm(settings, workers=1) as hsm:
                await Vault(database, hsm).compare_master_keys()
            yield Check(name, Status.OK, "check values agree")
    except OperatorError as error:
        yield failed(name, error)
