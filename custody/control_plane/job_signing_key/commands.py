"""The commands `control-plane job-signing-key`: replace the key without a stop."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custody.control_plane.command_context import settings_of, with_database
from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    application,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.control_plane.job_signing_key.files import KeyFiles
    from custody.control_plane.job_signing_key.pins import Pins, Unfinished
    from custody.control_plane.settings import Settings
    from custody.database.connection import Connection
    from custody.wire.signed_bytes import SigningKey

job_signing_key_app = application(
    """Replaces the key that signs jobs, without a stop.

    In order: next, pin the new key at every node and delivery server, status, switch on each
    replica, and then unpin the old key everywhere.
    """
)


@dataclass(frozen=True)
class _Keys:
    """The keys of this replica, and who pins what."""

    current: SigningKey
    next: SigningKey | None
    previous: SigningKey | None
    pins: list[Pins]
    unfinished: list[Unfinished]

    @property
    def in_the_way(self) -> list[Pins]:
        """Return what prevents the switch to the next key: alive, and does not pin it."""
        from custody.control_plane.job_signing_key.pins import in_the_way

        return [] if self.next is None else in_the_way(self.pins, self.next.key_id)

    def named(self) -> dict[str, SigningKey]:
        keys = {"current": self.current, "next": self.next, "previous": self.previous}
        return {name: key for name, key in keys.items() if key is not None}


@job_signing_key_app.command("next")
def make_next(context: typer.Context) -> None:
    """Make the key that is to replace the current one, and print its public key.

    The new key lies beside the current one. Nothing uses it before `switch`. With several replicas,
    copy the file to the same place on each of their hosts (mode 0600).
    """
    with operator_errors():
        files = _files(settings_of(context))
        key, is_new = files.make_next()
    word = "wrote" if is_new else "is there already, unchanged:"
    out.print(f"{word} {files.next}", markup=False)
    out.print(f"job-signing public key {key.key_id}, to add to job_signing_keys:", markup=False)
    out.print(f"  {_base64(key)}", markup=False)
    out.print("next: add it on every node and delivery server, and reload them (systemctl reload);")
    out.print("then run: control-plane job-signing-key status")


@job_signing_key_app.command("status")
def status(context: typer.Context, as_json: Json = False) -> None:
    """Show the keys of this replica, and which nodes and delivery servers pin them.

    Exits with 1 while `switch` would refuse, because a node or delivery server that is alive does
    not pin the next key.
    """
    with operator_errors():
        keys = _read(context)
    if as_json:
        print_json(_shown(keys))
    else:
        _print(keys)
    if keys.in_the_way:
        raise typer.Exit(EXIT_FAILED)


@job_signing_key_app.command("switch")
def switch(
    context: typer.Context,
    force: Annotated[
        bool,
        typer.Option("--force", help="Switch although a node that is alive does not pin the key."),
    ] = False,
) -> None:
    """Put the next key in the current one's place on this host. Then restart this replica.

    Refuses while a node or delivery server that is alive does not pin the next key: it would refuse
    every job. The old key is kept beside the new one as the previous key. Jobs that the old key has
    signed stay valid until they expire, so nodes must pin both keys until then.
    """
    from custody.control_plane.audit.own_chain import Auditor
    from custody.runtime.operators import operator_name

    with operator_errors():
        files = _files(settings_of(context))
        keys = _read(context)
        if keys.next is None:
            raise OperatorError(
                f"there is no next job-signing key ({files.next})",
                "Run: control-plane job-signing-key next. On another replica: copy the file of the "
                f"first replica. In use here is {keys.current.key_id}.",
            )
        if keys.in_the_way and not force:
            raise OperatorError(
                f"these are alive and do not pin the key {keys.next.key_id}: "
                + ", ".join(each.name for each in keys.in_the_way),
                "Add the key to job_signing_keys in their configurations and reload them, or give "
                "--force: then they refuse every job that the new key signs.",
            )
        auditor = Auditor(operator_name(), keys.next)
        said = {"key": keys.next.key_id, "previous": keys.current.key_id}

        async def record(connection: Connection) -> None:
            await auditor.record(connection, "SwitchJobSigningKey", said)

        with_database(context, record)  # first, so that no switch lacks its record
        files.switch()
    out.print(f"the job-signing key is {keys.next.key_id} from the next start on", markup=False)
    out.print(f"the previous key, {keys.current.key_id}, is {files.previous}", markup=False)
    away = [each.name for each in keys.pins if not each.is_alive and not each.pin(keys.next.key_id)]
    if away:
        out.print(f"away, and not known to pin it: {', '.join(away)}", style="yellow", markup=False)
    out.print("next: restart this replica; then copy the next key to each other replica and switch")
    out.print("it; unpin the previous key when `status` shows no unfinished requests under it")


def _files(settings: Settings) -> KeyFiles:
    from custody.control_plane.job_signing_key.files import KeyFiles

    return KeyFiles(settings.jobs.signing_key)


def _read(context: typer.Context) -> _Keys:
    from custody.control_plane.job_signing_key.pins import read_pins, read_unfinished

    settings = settings_of(context)
    files = _files(settings)

    async def read(connection: Connection) -> tuple[list[Pins], list[Unfinished]]:
        pins = await read_pins(connection, settings.delivery.servers)
        return pins, await read_unfinished(connection)

    pins, unfinished = with_database(context, read)
    return _Keys(settings.jobs.signer(), files.load_next(), files.load_previous(), pins, unfinished)


def _shown(keys: _Keys) -> dict[str, Any]:
    return {
        "keys": {
            name: {"id": key.key_id, "public_key": _base64(key)}
            for name, key in keys.named().items()
        },
        "ready_to_switch": keys.next is not None and not keys.in_the_way,
        "in_the_way": [each.name for each in keys.in_the_way],
        "pins": [
            {
                "name": each.name,
                "group": each.group,
                "is_alive": each.is_alive,
                "last_seen": each.last_seen,
                "job_signing_keys": each.keys,
            }
            for each in keys.pins
        ],
        "unfinished": [
            {
                "signing_key_id": each.signing_key_id,
                "requests": each.requests,
                "last_expires_at": each.last_expires_at,
            }
            for each in keys.unfinished
        ],
    }


def _print(keys: _Keys) -> None:
    print_table(
        ["key", "id", "public key", "unfinished requests"],
        [
            [name, key.key_id, _base64(key), _requests(keys, key.key_id)]
            for name, key in keys.named().items()
        ],
    )
    out.print()
    names = list(keys.named())
    print_table(
        ["node or delivery server", "group", "alive", *(f"pins {name}" for name in names)],
        [
            [
                each.name,
                each.group or "(delivery server)",
                "yes" if each.is_alive else "no",
                *(_pins(each, key) for key in keys.named().values()),
            ]
            for each in keys.pins
        ],
    )
    if keys.next is None:
        return
    out.print()
    if keys.in_the_way:
        names = [each.name for each in keys.in_the_way]
        out.print(f"not ready: the next key is not pinned by {', '.join(names)}", markup=False)
    else:
        out.print("ready: control-plane job-signing-key switch")


def _requests(keys: _Keys, key_id: str) -> int:
    return sum(each.requests for each in keys.unfinished if each.signing_key_id == key_id)


def _pins(pins: Pins, key: SigningKey) -> str:
    if pins.keys is None:
        return "not known"
    return "yes" if pins.pin(key.key_id) else "no"


def _base64(key: SigningKey) -> str:
    return base64.b64encode(key.public_key).decode()
