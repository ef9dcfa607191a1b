"""Which configurations a driver takes."""

import base64
from pathlib import Path

import pytest

from custody.runtime.configuration import read_settings
from custody.runtime.errors import ConfigurationError
from custody.wire.algorithms import EDDSA_ED25519
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.settings import DriverSettings, hsm_settings, other_tokens
from tests.made_up_keys import made_up_key

CHECK_VALUE = "0x" + "5a" * 32
COPIES = """
[key_copies]
endpoint = "https://s3.example.com"
region = "us-east-1"
bucket = "keys"
prefix = "hsm/"
credentials_file = "s3-credentials"
driver_keys = ["{key}"]
"""


def settings(folder: Path, more_in_hsm: str = "", more: str = "") -> DriverSettings:
    new = NewDriver(
        node="zurich-1",
        job_signing_keys=["AAAA"],
        module=Path("/lib/hsm.so"),
        token_label="custody",
    )
    text = new_configuration(new).replace("[hsm]\n", f"[hsm]\n{more_in_hsm}\n")
    path = folder / "hsm-driver.toml"
    path.write_text(text + more)
    return read_settings(path, DriverSettings)


def test_restored_keys_come_from_the_configuration(tmp_path: Path):
    lines = f'restored_check_values = ["{CHECK_VALUE}"]\nrestored_extractable = true'
    (key,) = hsm_settings(settings(tmp_path, lines)).restored
    assert (key.check_value, key.extractable) == (bytes.fromhex("5a" * 32), True)
    assert hsm_settings(settings(tmp_path)).restored == ()


@pytest.mark.parametrize("value", ["5a" * 32, "0x5a", CHECK_VALUE + "5a", ""])
def test_what_is_not_a_whole_check_value_is_refused(tmp_path: Path, value: str):
    """A prefix would be easy to find another key for."""
    with pytest.raises(ConfigurationError, match="restored_check_values"):
        settings(tmp_path, f'restored_check_values = ["{value}"]')


def test_the_keys_of_other_drivers_are_pinned(tmp_path: Path):
    key = made_up_key(EDDSA_ED25519)
    section = settings(tmp_path, more=COPIES.format(key=base64.b64encode(key).decode())).key_copies
    assert section is not None
    assert section.drivers == [key]


@pytest.mark.parametrize("key", ["no base64", "AAAA", base64.b64encode(bytes(32)).decode()])
def test_what_is_not_a_public_key_is_refused(tmp_path: Path, key: str):
    with pytest.raises(ConfigurationError, match="driver_keys"):
        settings(tmp_path, more=COPIES.format(key=key))


OTHER_TOKEN = """
[[hsm.other_tokens]]
pin_file = "second.pin"
"""


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ('token_label = "second"', "second"),
        ('token_serial = "12ab"', "custody, serial 12ab"),
        ("slot = 1", "custody, slot 1"),
    ],
)
def test_another_token_has_a_name_and_state_of_its_own(tmp_path: Path, lines: str, name: str):
    found = settings(tmp_path, more=OTHER_TOKEN + lines)
    (other,) = other_tokens(found)
    assert other.token_name == name
    assert other.state_directory != hsm_settings(found).state_directory


def test_another_token_without_a_pin_is_named(tmp_path: Path):
    table = '[[hsm.other_tokens]]\ntoken_label = "second"\n'
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, more=table)
    assert "[[hsm.other_tokens]] for the token 'second': give either" in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'token_label = "custody"',
        f"slot = 1{OTHER_TOKEN}slot = 1",
        f'slot = 1{OTHER_TOKEN}token_label = "custody, slot 1"',
    ],
)
def test_two_tokens_of_one_name_are_refused(tmp_path: Path, lines: str):
    """They would share the memory of their PINs, and the metrics."""
    with pytest.raises(ConfigurationError, match="each token needs its own"):
        settings(tmp_path, more=OTHER_TOKEN + lines)
