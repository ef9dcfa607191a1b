"""The reference of settings: what `init` writes, and each setting's type and default."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

import custody.control_plane.cli
import custody.control_plane.settings
import custody.delivery.cli
import custody.delivery.settings
import hsm_driver.cli
import hsm_driver.settings
import mpc.cli
import mpc.settings
from custody.runtime.configuration import Section
from devstack.reference.markdown import code, page, table
from devstack.reference.schemas import Schema, name_of, type_in_words

INTRODUCTION = """\
A configuration is a TOML file. A program looks for it in the current folder under the name below.
`--config FILE` or the environment variable names another file. An unknown setting is an error.
A relative path counts from the folder of the configuration file.
Restart a daemon after a change."""
ALL_SETTINGS = """\
A section in brackets may be left out unless its row says *needed*. A setting without a default must
be in the file if its section is there."""

JOB_SIGNING_KEY = "seLNW/UCZ5V378FzUaqBFRHcvd+4aUa6wq5Agsedrlk="
"""The key of the wire protocol's examples."""
NODE_OPTIONS = f"--job-signing-key {JOB_SIGNING_KEY} --database-url-file database-url"
DRIVER_OPTIONS = (
    f"--node zurich-1 {NODE_OPTIONS} --module /usr/lib/softhsm/libsofthsm2.so "
    "--token-label custody --pin-file pin"
)
SIGNER_OPTIONS = (
    f"--node signer-1 {NODE_OPTIONS} --delivery delivery-1=https://delivery-1.example:8445"
)
DELIVERY_OPTIONS = f"--name delivery-1 --job-signing-key {JOB_SIGNING_KEY}"
PROGRAMS: dict[str, tuple[typer.Typer, type[Section], str]] = {
    "control-plane": (custody.control_plane.cli.app, custody.control_plane.settings.Settings, ""),
    "hsm-driver": (hsm_driver.cli.app, hsm_driver.settings.DriverSettings, DRIVER_OPTIONS),
    "mpc-signer": (mpc.cli.app, mpc.settings.SignerSettings, SIGNER_OPTIONS),
    "mpc-delivery": (
        custody.delivery.cli.app,
        custody.delivery.settings.Settings,
        DELIVERY_OPTIONS,
    ),
}


def settings_pages() -> dict[str, str]:
    """Return each page's text by its path under docs/."""
    folder = "reference/settings"
    pages = {f"{folder}/index.md": _index()}
    for program, (application, model, options) in PROGRAMS.items():
        pages[f"{folder}/{program}.md"] = page(
            f"Settings of {program}",
            "## A new file",
            "Every setting is explained in the file that `init` writes. For example this command",
            code(f"{program} init {options}"),
            "writes",
            code(_new_file(application, program, options), "toml"),
            "## All settings",
            ALL_SETTINGS,
            table(*_settings_table(model)),
        )
    return pages


def _index() -> str:
    rows = []
    for program in PROGRAMS:
        variable = program.upper().replace("-", "_") + "_CONFIG"
        rows.append((f"[`{program}`]({program}.md)", f"`{program}.toml`", f"`{variable}`"))
    return page("Settings", INTRODUCTION, table(("program", "file", "variable"), rows))


def _new_file(application: typer.Typer, program: str, options: str) -> str:
    """Return the file that `init` writes. Raise RuntimeError if `init` fails."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("database-url").write_text("postgresql://custody@localhost/custody")
        Path("database-url").chmod(0o600)
        done = CliRunner().invoke(application, ["init", *options.split()])
        if done.exit_code:
            raise RuntimeError(f"{program} init failed: {done.output}")
        return Path(f"{program}.toml").read_text("utf-8")


def _settings_table(model: type[Section]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and rows. There is a column of meanings only if the model has meanings."""
    schema = model.model_json_schema()
    rows: list[tuple[str, ...]] = list(_section(schema, schema["$defs"], "", {}))
    columns = ("setting", "type", "default", "meaning")
    if any(row[-1] for row in rows):
        return columns, rows
    return columns[:-1], [row[:-1] for row in rows]


def _section(
    schema: Schema, definitions: Schema, prefix: str, given: Any
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a section's text. ``given``: the section's default, from the section above it."""
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        default = given.get(name, field.get("default"))
        is_needed = name in required and name not in given
        inner, is_list = _inner(field, definitions)
        if inner is None:
            shown = "none" if default is None else f"`{json.dumps(default)}`"
            meaning = field.get("description", "")
            yield f"`{prefix}{name}`", type_in_words(field), "" if is_needed else shown, meaning
            continue
        full = f"{prefix}{name}"
        heading = f"**`[[{full}]]`**" if is_list else f"**`[{full}]`**"
        yield heading, "", "*needed*" if is_needed else "", ""
        yield from _section(inner, definitions, f"{full}.", default or {})


def _inner(field: Schema, definitions: Schema) -> tuple[Schema | None, bool]:
    """Return the schema of a subsection, and whether the file may have several of it."""
    for option in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        reference = option.get("$ref") or option.get("items", {}).get("$ref")
        if reference and "properties" in definitions[name_of(reference)]:
            return definitions[name_of(reference)], "items" in option
    return None, False
