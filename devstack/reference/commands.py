"""The reference of all programs: each command with its arguments and options."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer.core
from typer.main import get_command

from devstack.reference.markdown import code, page, table

PROGRAMS = {
    "control-plane": "custody.control_plane.cli:app",
    "hsm-driver": "hsm_driver.cli:app",
    "mpc-signer": "mpc.cli:app",
    "mpc-delivery": "custody.delivery.cli:app",
    "mpc-recover": "mpc.recover_cli:app",
    "pki": "custody.pki.cli:application",
    "softhsm/token": "softhsm.__main__:app",
}
COMPLETION = {"--install-completion", "--show-completion", "--help"}
INTRODUCTION = """\
Every command has `--help` (`-h`). Every program but `softhsm/token` is in the `bin` folder of the
Python environment. `--install-completion` adds shell completion, and `--show-completion` prints it.
An option of the program, such as `--config`, comes before the command, as in
`hsm-driver --config FILE doctor`.

A command that fails prints what failed and what to do next on stderr, and ends with exit code 1.
A wrong option or argument ends with 2. A command with other exit codes names them in its help.
Commands with `--json` print one JSON document on stdout."""


def command_pages() -> dict[str, str]:
    """Return each page's text by its path under docs/."""
    folder = "reference/commands"
    pages = {}
    summaries = []
    for program, target in PROGRAMS.items():
        command = _command_of(target)
        name = program.replace("/", "-")
        pages[f"{folder}/{name}.md"] = page(program, *_sections(command, program))
        summaries.append((f"[`{program}`]({name}.md)", _first_line(command.help)))
    index = page("Commands", INTRODUCTION, table(("program", "what it does"), summaries))
    return {f"{folder}/index.md": index, **pages}


def _command_of(target: str) -> Any:
    module, _, name = target.partition(":")
    return get_command(getattr(import_module(module), name))


def _sections(command: Any, path: str, parent: Any = None) -> Iterator[str]:
    """Yield the command's description, then those of the commands below it."""
    context = typer.Context(command, info_name=path.rsplit(" ", 1)[-1], parent=parent)
    if parent is not None:
        yield f"## {path}"
    yield _paragraphs(command.help)
    yield code(" ".join([path, *command.collect_usage_pieces(context)]))
    yield from _parameters(command, context)
    if isinstance(command, typer.core.TyperGroup):
        for name in command.list_commands(context):
            yield from _sections(command.get_command(context, name), f"{path} {name}", context)


def _parameters(command: Any, context: typer.Context) -> Iterator[str]:
    rows = [record for each in command.params if (record := each.get_help_record(context))]
    rows = [(f"`{name}`", text) for name, text in rows if name.split()[0] not in COMPLETION]
    if rows:
        yield table(("argument or option", "meaning"), rows)


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(each.split()) for each in (text or "").split("\n\n"))


def _first_line(text: str | None) -> str:
    return _paragraphs(text).split("\n\n", 1)[0]
