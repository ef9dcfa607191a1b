"""The profiles of HSMs: each fact has a source, and each setting exists."""

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from custody.pkcs11.profiles import profiles
from custody.pkcs11.token_section import token_traits
from custody.pkcs11.token_traits import DEFAULT_TRAITS
from hsm_driver.cli import app
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.settings import HsmSection


@pytest.mark.parametrize("name", profiles())
def test_a_profile_recommends_only_settings_that_exist(name: str):
    """Each fact has a source, or the profile would not load."""
    profile = profiles()[name]
    given = tomllib.loads("\n".join(profile.settings))
    section = HsmSection.model_validate(
        {"module": "/m.so", "token_label": "t", "pin_file": "/pin", **given},
        context={"folder": Path("/")},
    )
    traits = asdict(token_traits(section))
    for setting in given.keys() - {"host_signing"}:
        assert traits[setting] != asdict(DEFAULT_TRAITS)[setting], f"{setting} says nothing"
    done = CliRunner().invoke(app, ["profile", "show", name])
    assert done.exit_code == 0, done.output
    assert profile.title in done.stdout


@pytest.mark.parametrize("name", [name for name, each in profiles().items() if each.lines])
def test_its_lines_replace_those_of_a_new_configuration(name: str):
    """As the command says: the lines go into [hsm], and replace the settings that are there."""
    shown = CliRunner().invoke(app, ["profile", "show", name]).stdout
    lines = [line for line in profiles()[name].lines if f"\n{line}\n" in shown]
    assert lines == profiles()[name].lines
    assert "Replace the line" in shown
    new = new_configuration(
        NewDriver(
            node="node-1",
            url="https://localhost:1",
            job_signing_keys=["AAAA"],
            module=Path("/m.so"),
            token_label="custody",
        )
    )
    settings = [line.split(" = ")[0] for line in lines if not line.startswith("#")]
    kept = [line for line in new.splitlines() if line.split(" = ")[0] not in settings]
    place = kept.index("[hsm]") + 1
    found = tomllib.loads("\n".join([*kept[:place], *lines, *kept[place:]]))
    assert set(settings) <= found["hsm"].keys()


def test_the_profiles_are_listed_and_another_name_is_refused():
    assert all(name in CliRunner().invoke(app, ["profile", "list"]).stdout for name in profiles())
    done = CliRunner().invoke(app, ["profile", "show", "none"])
    assert done.exit_code == 1
    assert "luna" in done.stderr


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("profile show ", list(profiles())),
        ("profile show lu", ["luna"]),
        ("try-token --profile lu", ["luna"]),
        ("try-token --login p", ["protected-path"]),
    ],
)
def test_a_shell_completes_names(words: str, completed: list[str]):
    line = f"hsm-driver {words}"
    asked = {
        "_HSM_DRIVER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = CliRunner().invoke(app, [], prog_name="hsm-driver", env=asked)
    assert done.stdout.split() == completed
