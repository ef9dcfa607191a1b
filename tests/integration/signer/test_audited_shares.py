"""`mpc-signer audit verify`: shares and their states, as the chain says that they came about."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from custody.control_plane.conductor.planning.facts import MAKES_KEYS
from custody.database.pool import Pool
from custody.node.audit import AuditChain, AuditRecord
from custody.node.identity import load_identity
from custody.node.journal import Commit, Journal
from custody.runtime.console import EXIT_FAILED
from custody.runtime.signing_key import create_signing_key
from custody.wire.jobs import JobKind
from custody.wire.outcomes import Outcome, OutcomeStatus
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command
from tests.integration.signer.keys import ME, SetOfShares, activate, confirm, new_key


@pytest.fixture
def journal(config: Path, pool: Pool) -> Journal:
    create_signing_key(config.parent / "identity.pem")
    chain = AuditChain(pool, ME, load_identity(config.parent / "identity.pem"))
    return Journal(pool, ME, chain)


async def record(journal: Journal, kind: str, made: SetOfShares, **details: str) -> None:
    """The outcome of a job that changed a share, as the job loop commits it."""
    job_id = uuid4()
    outcome = Outcome(job_id=job_id, node=ME, status=OutcomeStatus.DONE)

    def audit_record(digest: bytes) -> AuditRecord:
        said: dict[str, str | None] = {"ceremony": str(made.ceremony), **details}
        return AuditRecord(job_id, kind, made.key_id, bytes(32), "DONE", None, digest, said)

    await journal.commit(Commit(job_id, bytes(32), outcome, audit_record))


async def findings(config: Path) -> list[str]:
    done = await command(config, "audit", "verify", "--offline", "--json")
    found = [each["what"] for each in json.loads(done.stdout)["findings"]]
    assert done.exit_code == (EXIT_FAILED if found else 0)
    return found


@pytest.fixture
async def made(journal: Journal, pool: Pool, shares: Shares) -> SetOfShares:
    """A key in use, with the records of how it came to be."""
    made = new_key()
    await activate(pool, shares, made)
    key = made.ours.public_key.hex()
    await record(journal, JobKind.GENERATE_KEY, made, public_key=key, generation="0")
    await record(journal, JobKind.PROMISE, made, public_key=key, generation="0")
    await record(journal, JobKind.ACTIVATE_KEY, made, public_key=key, generation="0")
    return made


async def test_a_share_with_the_records_of_its_states_is_as_they_say(
    config: Path, journal: Journal, pool: Pool, shares: Shares, made: SetOfShares
):
    assert await findings(config) == []
    following = made.refreshed()
    await activate(pool, shares, following)
    key = made.ours.public_key.hex()
    for kind in (JobKind.REFRESH_KEY, JobKind.PROMISE, JobKind.ACTIVATE_KEY):
        await record(journal, kind, following, public_key=key, generation="1")
    waiting = new_key()
    await confirm(pool, shares, waiting)
    await record(journal, JobKind.GENERATE_KEY, waiting, public_key=waiting.ours.public_key.hex())
    words = ["--reason", "spoke to Ada"]
    await command(config, "shares", "discard", waiting.key_id, waiting.ceremony, *words)
    assert await findings(config) == []
    done = await command(config, "audit", "verify", "--offline")
    assert "nothing found" in done.stdout


async def test_a_share_that_was_made_and_is_gone_is_found(
    config: Path, pool: Pool, made: SetOfShares
):
    await pool.rows("DELETE FROM shares")
    found = await findings(config)
    assert len(found) == 3
    assert all("is gone" in what and str(made.ceremony) in what for what in found)


@pytest.mark.parametrize("kind", MAKES_KEYS)
async def test_a_share_is_missed_however_its_key_was_made(
    config: Path, journal: Journal, kind: JobKind
):
    made = new_key()
    await record(journal, kind, made, public_key=made.ours.public_key.hex(), generation="0")
    [found] = await findings(config)
    assert "is gone" in found
    assert str(made.ceremony) in found


async def test_a_state_that_its_records_do_not_lead_to_is_found(
    config: Path, pool: Pool, made: SetOfShares
):
    await pool.rows("UPDATE shares SET state = 'confirmed'")
    assert any("confirmed, which does not follow" in what for what in await findings(config))


async def test_another_public_key_than_was_recorded_is_found(
    config: Path, pool: Pool, made: SetOfShares
):
    await pool.rows("UPDATE shares SET public_key = sha256(public_key)")
    assert any("another public key" in what for what in await findings(config))


async def test_a_discard_that_somebody_undid_is_found(
    config: Path, journal: Journal, pool: Pool, shares: Shares
):
    made = new_key()
    await confirm(pool, shares, made)
    await record(journal, JobKind.ABANDON, made)
    assert any("confirmed, which does not follow" in what for what in await findings(config))
    other = SetOfShares(made.shares, made.key_id, UUID(int=7))
    await record(journal, JobKind.ABANDON, other)
    assert any("is gone" in what for what in await findings(config))


async def test_a_restored_key_that_nobody_has_adopted_is_found(
    config: Path, pool: Pool, made: SetOfShares
):
    assert await findings(config) == []
    await pool.rows(
        "INSERT INTO restored_keys (check_value, is_extractable, operator, reason)"
        " VALUES (sha256('mine'), false, 'bo', 'none')"
    )
    (what,) = await findings(config)
    assert "the restored key" in what
    assert "no audit record" in what
