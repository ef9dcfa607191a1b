"""Which configurations a signer takes."""

from pathlib import Path
from typing import Any

import pytest

from custody.runtime.configuration import read_settings
from custody.runtime.errors import ConfigurationError
from mpc.configuration import NewSigner, new_configuration
from mpc.settings import SignerSettings


def text(**changes: Any) -> str:
    options: dict[str, Any] = {
        "node": "zurich-1",
        "job_signing_keys": ["AAAA"],
        "delivery": ["delivery-1=https://localhost:8445"],
    }
    return new_configuration(NewSigner(**options | changes))


def settings(folder: Path, content: str) -> SignerSettings:
    path = folder / "mpc-signer.toml"
    path.write_text(content)
    return read_settings(path, SignerSettings)


def test_an_explained_example_of_a_token_can_be_taken_as_it_stands(tmp_path: Path):
    commented = text().replace('key = "file"', 'key = "hsm"').replace("key_file =", "# key_file =")
    lines = commented.splitlines()
    start = lines.index("# [encryption.hsm]")
    end = lines.index("[quorum]")
    uncommented = [line.removeprefix("# ") for line in lines[start:end]]
    found = settings(tmp_path, "\n".join([*lines[:start], *uncommented, *lines[end:]]))
    assert found.encryption.hsm is not None
    assert found.encryption.hsm.key_label == "custody-signer"


def test_a_token_for_the_encryption_key(tmp_path: Path):
    found = settings(tmp_path, text(module=Path("/lib/hsm.so"), token_label="signer"))
    assert found.encryption.key == "hsm"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('key_file = "encryption.key"', "", "give key_file"),
        ('key = "file"', 'key = "hsm"', r"needs a section \[encryption.hsm\]"),
        ("min_threshold = 2", "min_threshold = 1", "greater than or equal to 2"),
        ('url = "https://localhost:8445"', 'url = "http://localhost:8445"', "delivery.0.url"),
        ("[[delivery]]", "[[other]]", "delivery: Field required"),
        ("[quorum]", "[quorum]\nmaximum = 3", "quorum.maximum"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, before: str, after: str, says: str):
    assert before in text()
    with pytest.raises(ConfigurationError, match=says):
        settings(tmp_path, text().replace(before, after, 1))


def test_two_delivery_servers_of_one_name_are_refused(tmp_path: Path):
    another = text() + '\n[[delivery]]\nname = "delivery-1"\nurl = "https://b:1"\nca = "ca.pem"\n'
    with pytest.raises(ConfigurationError, match="the same name"):
        settings(tmp_path, another)


def test_a_key_that_is_both_in_a_file_and_in_a_token_is_refused(tmp_path: Path):
    in_hsm = text(module=Path("/lib/hsm.so"), token_label="signer")
    both = in_hsm.replace('key = "hsm"', 'key = "hsm"\nkey_file = "encryption.key"')
    with pytest.raises(ConfigurationError, match="other_key_files"):
        settings(tmp_path, both)
