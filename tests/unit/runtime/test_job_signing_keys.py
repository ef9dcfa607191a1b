"""The pinned job-signing keys of a daemon, read again from its configuration."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.runtime.configuration import Section, read_settings
from custody.runtime.errors import ConfigurationError
from custody.runtime.job_signing_keys import JobSigningKeys, LiveJobKeys, pinned_job_keys
from custody.wire.signed_bytes import BadSignedBytes, SigningKey

OLD, NEW = (SigningKey(Ed25519PrivateKey.generate()) for _ in "ab")


class Settings(Section):
    job_signing_keys: JobSigningKeys


def put(path: Path, *keys: SigningKey) -> None:
    path.write_text(
        "job_signing_keys = "
        + json.dumps([base64.b64encode(key.public_key).decode() for key in keys])
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    put(path, OLD)
    return path


@pytest.fixture
def live(path: Path) -> LiveJobKeys:
    settings = read_settings(path, Settings)
    return LiveJobKeys(lambda: pinned_job_keys(settings.read_again().job_signing_keys, "x"))


def believes(live: LiveJobKeys, key: SigningKey) -> bool:
    try:
        return live.open("type", key.sign("type", b"payload")) == b"payload"
    except BadSignedBytes:
        return False


def test_a_changed_file_counts_after_it_was_read_again(live: LiveJobKeys, path: Path):
    put(path, OLD, NEW)
    assert (believes(live, OLD), believes(live, NEW)) == (True, False)
    live.reload()
    assert (believes(live, OLD), believes(live, NEW)) == (True, True)
    assert live.ids == (OLD.key_id, NEW.key_id)
    put(path, NEW)
    live.reload()
    assert (believes(live, OLD), believes(live, NEW)) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "job_signing_keys = []",
        'job_signing_keys = ["AAAA"]',
        "job_signing_keys = [",
        "",
        'job_signing_keys = ["' + "A" * 43 + '="]\nunknown = 1',
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_a_problem(
    live: LiveJobKeys, path: Path, text: str
):
    path.write_text(text)
    live.reload()
    assert live.ids == (OLD.key_id,)
    assert believes(live, OLD)
    problem = live.problem()
    assert problem is not None
    assert "the old keys stay pinned" in problem
    put(path, NEW)
    live.reload()
    assert (live.ids, live.problem()) == ((NEW.key_id,), None)


def test_a_daemon_does_not_start_with_keys_that_cannot_be_used(path: Path):
    path.write_text('job_signing_keys = ["AAAA"]')
    settings = read_settings(path, Settings)
    with pytest.raises(ConfigurationError):
        LiveJobKeys(lambda: pinned_job_keys(settings.read_again().job_signing_keys, "x"))


def test_settings_without_a_file_stay_as_they_are():
    settings = Settings(job_signing_keys=["AAAA"])
    assert settings.read_again() is settings
