"""What the two wheels have, and what they do together."""

import ast
import sys
import sysconfig
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution, packages_distributions
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.built_wheels import (
    CHECKOUT,
    check_requirements,
    clean_environment,
    install,
    run,
)

OF_CLIENT = ("custody/client/", "custody/wire/")
OF_DAEMONS = ("custody/", "hsm_driver/", "mpc/")
COMMANDS = ("control-plane", "hsm-driver", "mpc-delivery", "mpc-recover", "mpc-signer", "pki")
# SQLAlchemy loads its driver by the name in a URL, so an import statement need not name it.
LOADED_BY_NAME = {"psycopg"}
# These belong to a library that is required, which says their version.
BELONG_TO = {"pydantic-core": "pydantic", "starlette": "fastapi"}


@pytest.fixture(scope="module")
def python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with both wheels. The dependencies are those of the tests' environment."""
    python = clean_environment(tmp_path_factory.mktemp("together") / "venv")
    install(python, "--no-deps", "--no-index", *wheels.values())
    site_packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # Python reads no .pth file of a folder that a .pth file names: the checkout stays invisible.
    Path(site_packages.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def files(wheel: Path) -> set[str]:
    """The files of a wheel that an import can find."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def source_files() -> set[str]:
    """The Python files of the packages that are installed."""
    return {
        str(path.relative_to(CHECKOUT))
        for package in ("custody", "hsm_driver", "mpc")
        for path in (CHECKOUT / package).rglob("*.py")
        if not path.is_relative_to(CHECKOUT / "mpc" / "native")
    }


def test_every_module_is_in_exactly_one_of_the_two_wheels(wheels):
    daemons, client = files(wheels["daemons"]), files(wheels["client"])
    assert not daemons & client
    assert {name for name in daemons | client if name.endswith(".py")} == source_files()
    assert all(name.startswith(OF_CLIENT) for name in client)
    assert not any(name.startswith(OF_CLIENT) for name in daemons)


def test_no_generic_name_comes_into_site_packages(wheels):
    assert all(name.startswith(OF_DAEMONS) for name in files(wheels["daemons"]))
    assert "custody/__init__.py" not in files(wheels["daemons"]) | files(wheels["client"])


def test_both_wheels_have_the_version_of_the_crates(wheels):
    manifest = tomllib.loads((CHECKOUT / "mpc/native/Cargo.toml").read_text())
    version = manifest["workspace"]["package"]["version"]
    assert {metadata(wheel)["Version"] for wheel in wheels.values()} == {version}
    required = metadata(wheels["daemons"]).get_all("Requires-Dist", [])
    assert f"custody-client=={version}" in required


def test_a_wheel_names_its_licence_and_no_path_of_the_machine_that_built_it(wheels):
    for wheel in wheels.values():
        assert metadata(wheel)["License-Expression"] == "Apache-2.0"
        with zipfile.ZipFile(wheel) as archive:
            texts = [
                archive.read(name)
                for name in archive.namelist()
                if ".dist-info/" in name and not name.endswith("RECORD")
            ]
        assert (CHECKOUT / "LICENSE").read_bytes() in texts
        assert not any(str(CHECKOUT).encode() in text for text in texts)


def test_the_client_wheel_is_pure_python(wheels):
    assert wheels["client"].name.endswith("-py3-none-any.whl")


@pytest.mark.parametrize("wheel", ["daemons", "client"])
def test_a_wheel_requires_what_its_modules_import_and_nothing_else(wheels, wheel):
    declared = {
        canonicalize_name(requirement.name)
        for line in metadata(wheels[wheel]).get_all("Requires-Dist", [])
        if (requirement := Requirement(line)).marker is None or _is_for_traces(requirement)
    }
    imported = {BELONG_TO.get(name, name) for name in imported_distributions(wheels[wheel])}
    assert declared - {"custody-client"} - LOADED_BY_NAME == imported - LOADED_BY_NAME


def _is_for_traces(requirement: Requirement) -> bool:
    """Return whether the extra ``tracing`` asks for it: a function imports its modules."""
    return requirement.marker is not None and requirement.marker.evaluate({"extra": "tracing"})


def imported_distributions(wheel: Path) -> set[str]:
    """The distributions that the modules of a wheel import, by their names in the index."""
    distributions = packages_distributions()
    found: set[str] = set()
    for name in files(wheel):
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse((CHECKOUT / name).read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in (
                    "custody",
                    "hsm_driver",
                    "mpc",
                ):
                    found.update(
                        canonicalize_name(one) for one in distributions[top] if _has(one, module)
                    )
    return found


def _has(name: str, imported: str) -> bool:
    """Return whether a distribution has a module, or the module of an imported name.

    Several distributions share a namespace package, which is in none of them alone.
    """
    path = PurePosixPath(*imported.split("."))
    if len(set(packages_distributions()[path.parts[0]])) == 1:
        return True
    modules = [each for each in (path, path.parent) if len(each.parts) > 1]
    wanted = {f"{each}.py" for each in modules} | {f"{each}/__init__.py" for each in modules}
    return any(str(each) in wanted for each in distribution(name).files or ())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_two_wheels_runs(python: Path, command: str):
    assert "Usage" in run(python.parent / command, "--help")


def test_the_two_wheels_together_have_all_modules_and_all_migrations(python: Path, wheels):
    check_requirements(python)
    modules = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for wheel in wheels.values()
        for name in files(wheel)
        if name.endswith(".py") and "/migrations/" not in name
    )
    program = """
import importlib, pathlib, sys
from alembic.script import ScriptDirectory
from custody.migrations import schema

places = {importlib.import_module(name).__file__ for name in sys.argv[1:]}
places.add(schema.__file__)
assert all(pathlib.Path(place).is_relative_to(sys.prefix) for place in places), places
for tree in ("control_plane", "hsm_driver", "mpc_signer"):
    print(ScriptDirectory.from_config(schema.alembic_config(tree, "postgresql:///x")).get_current_head())
"""
    heads = run(python, "-c", program, *modules).split()
    assert len(heads) == 3
