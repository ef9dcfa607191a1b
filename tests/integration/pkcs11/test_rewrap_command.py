"""hsm-driver master-key rewrap: every stored key under the newest master key."""

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges
from custody.node.only_process import stopped_node
from custody.pkcs11.endings import Step
from custody.pkcs11.metrics import HSM_ERRORS
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Protection
from hsm_driver.driver import open_hsm
from hsm_driver.rewrap import Rewrapping, Stage
from hsm_driver.rewrap_command import LOCK, Wanted, rewrap_keys
from hsm_driver.rewrap_report import Report
from hsm_driver.settings import DriverSettings
from tests.adopter import ADOPTER
from tests.integration.pkcs11.outside import objects
from tests.integration.pkcs11.rewrapping import (
    REWRAP,
    all_sign,
    call,
    done,
    first_version,
    refuse_weaker,
    rows,
    second_version,
    store_keys,
)
from tests.integration.pkcs11.test_restored_master_keys import config, pool
from tests.integration.pkcs11.test_retired_master_keys import delete_version
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.providers.tokens import Tokens

__all__ = ["config", "pool"]

DRY_RUN = ("master-key", "rewrap", "--dry-run", "--json")


@dataclass(frozen=True)
class Group:
    """A driver group. ``keys``: as they were stored, under the first version."""

    config: Path
    settings: DriverSettings
    pool: Pool
    tokens: Tokens
    keys: dict[UUID, WrappedKey]

    def one(self, master_key: str) -> UUID:
        """Return a key that this master key wraps."""
        return next(each for each, key in self.keys.items() if key.master_key == master_key)

    async def rewrap(self, on_stage=lambda _: None, **wanted: bool) -> Report:
        """Do as the command does. ``on_stage`` gets each stage."""
        return await rewrap_keys(self.settings, Wanted(**wanted), lambda _: None, on_stage)


async def group_of(config: Path, pool: Pool, tokens: Tokens, *options: str, each: int = 2) -> Group:
    settings = await first_version(config, *options)
    keys = await store_keys(settings, pool, each)
    await second_version(config)
    return Group(config, settings, pool, tokens, keys)


@pytest.fixture
async def group(config: Path, pool: Pool, empty_token: Tokens) -> Group:
    """Two keys of each algorithm under a rewrappable master key, and a newer one."""
    return await group_of(config, pool, empty_token, "--rewrappable")


def is_next(master_key: str) -> bool:
    return master_key.endswith("/2")


@pytest.mark.each_provider
async def test_every_key_signs_under_the_newest_master_key_and_the_old_one_is_retired(
    group: Group,
):
    before, on_token = await rows(group.pool), objects(group.tokens)
    survey = await done(group.config, *DRY_RUN)
    assert all(kind["can_be_rewrapped"] and kind["keys"] == 2 for kind in survey["kinds"])
    assert sum(kind["keys"] for kind in survey["kinds"]) == len(group.keys)
    assert await rows(group.pool) == before

    report = await done(group.config, *REWRAP)
    assert (report["rewrapped"], report["left"], report["failed"]) == (len(group.keys), 0, [])
    after = await rows(group.pool)
    assert all(is_next(master_key) for master_key, _ in after.values())
    assert not {wrapped for _, wrapped in after.values()} & {each[1] for each in before.values()}
    assert objects(group.tokens) == on_token
    await all_sign(group.settings, group.pool, group.keys)

    report = await done(group.config, *REWRAP, "--retire")
    assert (report["kinds"], report["rewrapped"]) == ([], 0)
    assert report["retired"] == ["custody-host/1", "custody/1"]
    async with open_hsm(group.settings, group.pool, workers=1) as hsm:
        assert set(await hsm.check_values()) == {"custody/2", "custody-host/2"}
        assert {each.name for each in await hsm.strangers()} == {"custody/1", "custody-host/1"}
    await done(group.config, "keys", "verify")
    delete_version(group.tokens, 1)
    await all_sign(group.settings, group.pool, group.keys)

    await done(group.config, "audit", "verify", "--offline", "--other", ADOPTER)
    records = await group.pool.rows("SELECT record FROM audit WHERE node = 'node-1'")
    said = [json.loads(row.record) for row in records]
    moved = [each for each in said if each["kind"] == "RewrapKeys"]
    assert sum(int(each["keys"]) for each in moved) == len(group.keys)
    assert {each["to"] for each in moved} <= {"custody/2", "custody-host/2"}
    assert all(each["from"] == each["to"].replace("/2", "/1") for each in moved)


async def test_keys_under_a_locked_master_key_stay_and_the_reason_is_said(
    config: Path, pool: Pool, empty_token: Tokens
):
    group = await group_of(config, pool, empty_token, each=1)
    before = await rows(pool)
    refusal = HSM_ERRORS.labels(Step.UNWRAP.value, "CKR_TEMPLATE_INCONSISTENT")
    errors = refusal._value.get()
    for arguments in (DRY_RUN, (*REWRAP, "--retire")):
        report = await done(config, *arguments, exit_code=1)
        for kind in report["kinds"]:
            is_host = kind["master_key"] == "custody-host/1"
            assert kind["can_be_rewrapped"] is is_host
            assert is_host or "'custody/1' is locked" in kind["why_not"]
    locked = {each for each, key in group.keys.items() if key.master_key == "custody/1"}
    after = await rows(pool)
    assert {each for each in after if after[each] == before[each]} == locked
    assert report["left"] == len(locked)
    assert "custody/1" not in report["retired"]
    assert refusal._value.get() == errors  # no error of the token, so the log gives no advice
    await all_sign(group.settings, pool, group.keys)


async def test_a_row_that_is_wrong_stays_as_it_is_and_the_others_are_rewrapped(group: Group):
    """Another key's wrapped key in the row, a damaged one, and a row of no known algorithm."""
    inside = [each for each, key in group.keys.items() if key.master_key == "custody/1"]
    swapped, from_which, damaged, strange = inside[:4]
    await group.pool.rows(
        "UPDATE wrapped_keys SET wrapped = (SELECT wrapped FROM wrapped_keys AS other "
        "WHERE other.key_id = :other) WHERE key_id = :id",
        {"id": swapped, "other": from_which},
    )
    await group.pool.rows(
        "UPDATE wrapped_keys SET wrapped = substr(wrapped, 9) WHERE key_id = :id", {"id": damaged}
    )
    await group.pool.rows(
        "UPDATE wrapped_keys SET curve = 'no curve' WHERE key_id = :id", {"id": strange}
    )
    before = await rows(group.pool)
    report = await done(group.config, *REWRAP, "--retire", exit_code=1)
    wrong = {swapped, damaged, strange}
    assert {each["key_id"] for each in report["failed"]} == {str(each) for each in wrong}
    after = await rows(group.pool)
    assert {each for each in after if after[each] == before[each]} == wrong
    assert (report["rewrapped"], report["left"]) == (len(group.keys) - 3, 3)
    assert report["retired"] == ["custody-host/1"]
    survey = await done(group.config, *DRY_RUN, exit_code=1)
    assert {each["key_id"] for each in survey["failed"]} == {str(each) for each in wrong}


async def test_a_row_that_changes_after_it_was_read_is_not_overwritten(
    group: Group, driver_database: str
):
    changed, proved = group.one("custody-host/1"), 0
    kinds = len({(key.master_key, key.algorithm) for key in group.keys.values()})

    def change(stage: Stage) -> None:
        nonlocal proved
        proved += stage is Stage.PROVED
        if proved == kinds + 1:  # the survey is over, and the first batch was read
            with psycopg.connect(driver_database, autocommit=True) as other:
                other.execute(
                    "UPDATE wrapped_keys SET wrapped = 'restored' WHERE key_id = %s", [changed]
                )

    report = await group.rewrap(change)
    assert [each.key_id for each in report.failed] == [str(changed)]
    assert (report.rewrapped, report.left) == (len(group.keys) - 1, 1)
    assert (await rows(group.pool))[changed] == ("custody-host/1", b"restored")


async def test_a_master_key_that_is_adopted_meanwhile_is_not_retired(
    group: Group, driver_database: str
):
    """It wraps no key yet. If it were retired, drivers that use it could store no new key."""
    newer = ["custody/3", "custody-host/3"]

    def adopt(stage: Stage) -> None:
        if stage is Stage.COMMITTED and newer:
            with psycopg.connect(driver_database, autocommit=True) as other:
                for name in newer:
                    other.execute(
                        "INSERT INTO master_keys (id, check_value) VALUES (%s, %s)",
                        [name, name.encode()],
                    )
            newer.clear()

    report = await group.rewrap(adopt, retire=True)
    assert report.retired == ["custody-host/1", "custody/1"]
    known = await group.pool.rows("SELECT id FROM master_keys WHERE retired_at IS NULL")
    assert {row.id for row in known} == {
        "custody/2", "custody-host/2", "custody/3", "custody-host/3",
    }  # fmt: skip


async def test_what_refuses_to_begin_has_changed_nothing(group: Group):
    before = await rows(group.pool)
    declined = await call(group.config, "master-key", "rewrap", answer="n\n")
    assert declined.exit_code == 1
    assert "must have been restarted" in declined.stderr
    assert "no copies in S3" in declined.stderr.replace("\n", " ")
    no_bucket = await call(group.config, *REWRAP, "--put-copies")
    assert no_bucket.exit_code == 1
    assert "has no [key_copies]" in no_bucket.stderr
    async with stopped_node(group.pool, LOCK):
        second = await call(group.config, *REWRAP)
    assert second.exit_code == 1
    assert "master-key rewrap runs on this database" in second.stderr
    assert "Wait until it has ended" in second.stderr

    await group.pool.rows("DELETE FROM key_backups")
    unconfirmed = await call(group.config, *REWRAP)
    assert unconfirmed.exit_code == 1
    assert "backup of custody-host/2, custody/2" in unconfirmed.stderr
    assert await rows(group.pool) == before

    await done(group.config, "master-key", "generate")
    await done(group.config, "master-key", "adopt", "custody/3", "--yes")
    result = await call(group.config, *REWRAP)
    assert result.exit_code == 1
    assert "custody/3, custody-host/2, which are not the two of one version" in result.stderr
    assert await rows(group.pool) == before
    await done(group.config, "master-key", "adopt", "custody-host/3", "--yes")
    report = await done(group.config, *REWRAP, "--without-backup")
    assert {kind["to"] for kind in report["kinds"]} == {"custody/3", "custody-host/3"}
    assert report["left"] == 0
    shown = await call(group.config, "master-key", "rewrap", "--yes", "--retire")
    assert "no key is under an older master key than custody-host/3" in shown.stdout
    assert "retired custody-host/1, custody-host/2, custody/1, custody/2" in shown.stdout


async def test_a_weaker_retired_master_key_keeps_no_new_one_from_being_adopted(group: Group):
    """The operator takes the acceptance out of the configuration before the key is deleted."""
    await done(group.config, *REWRAP, "--retire")
    refuse_weaker(group.config)
    await done(group.config, "master-key", "generate")
    names = ("custody/3", "custody-host/3")
    await done(group.config, "master-key", "adopt", *names, "--yes")
    again = await call(group.config, "master-key", "adopt", "custody/1", "--yes")
    assert again.exit_code == 1
    assert "--accept-weaker" in again.stderr
    under_older = "UPDATE wrapped_keys SET master_key = 'custody/2' WHERE key_id = :id"
    await group.pool.rows(under_older, {"id": next(iter(group.keys))})
    doctor = await done(group.config, "doctor", "--json", exit_code=1)  # no control plane
    checks = {check["name"]: check for check in doctor}
    assert checks["rewrap from custody/1"]["detail"].startswith("works")
    assert "custody-host/1, custody/1" in checks["retired master keys"]["detail"]
    assert "hsm-driver master-key rewrap" in checks["keys under older master keys"]["detail"]


async def test_a_key_that_is_not_usable_under_the_new_master_key_changes_nothing(
    built_faulty_module: None,
    group: Group,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The token wraps the key by the new master key, and then does not unwrap it."""
    faulty = FaultyModule(tmp_path / "faulty", Path(group.tokens.module))
    for name, value in faulty.environment.items():
        monkeypatch.setenv(name, value)
    before = await rows(group.pool)
    newest = {Protection.HSM: "custody/2", Protection.HOST: "custody-host/2"}
    hsm_section = group.settings.hsm.model_copy(update={"module": faulty.module})
    settings = group.settings.model_copy(update={"hsm": hsm_section})
    changes = AuditedChanges(group.pool, "node-1")
    async with open_hsm(settings, group.pool, workers=1) as hsm:
        rewrapping = Rewrapping(group.pool, hsm, newest)
        kinds, _ = await rewrapping.survey()
        # the first calls unwrap the two keys of a kind as extractable
        rule = faulty.returns("C_UnwrapKey", CKR.FUNCTION_FAILED, When(since=3))
        with pytest.raises(OperatorError, match="unwrap a key"):
            await rewrapping.rewrap(kinds, changes, "bo", None, lambda *_: None)
        assert faulty.fired(rule)
    after = await rows(group.pool)
    inside = {each for each, key in group.keys.items() if key.master_key == "custody/1"}
    assert {each for each in after if after[each] == before[each]} == inside
