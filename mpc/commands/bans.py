"""mpc-signer bans: the peers with which this signer does not sign under a key, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from custody.runtime.console import (
    EXIT_FAILED,
    Json,
    operator_errors,
    out,
    print_json,
    print_table,
)
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name, reason_of

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from mpc.bans.bans import Bans, KnownBan
    from mpc.bans.in_flight import InFlight
    from mpc.restored.watch import PeersAnswer, RestoreState
    from mpc.settings import SignerSettings


ANSWER_COLUMNS = ["signer", "is_pinned", "named_by", "answer", "at", "bans"]
COLUMNS = ["key_id", "signer", "does_not_sign_with", "since", "why"]


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application(
        "Pairs of signers that never sign together again under a key and its children."
    )

    @app.command("list")
    def list_bans(context: typer.Context, as_json: Json = False) -> None:
        """List all bans that this signer knows, and the pairs that a stop has left in flight."""
        import asyncio

        with operator_errors():
            settings = settings_of(context)
            bans, was_left = asyncio.run(_all(settings))
        rows = [_left_row(each, settings.node.id) for each in was_left]
        rows += [_row(ban) for ban in bans]
        if as_json:
            print_json(rows)
        else:
            print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
            if was_left:
                out.print(
                    "a pair that is left in flight signs again once you have found out why this "
                    "signer stopped: mpc-signer bans resolve KEY SIGNER --clear --reason ..."
                )

    @app.command()
    def answers(context: typer.Context, as_json: Json = False) -> None:
        """Show which signers have told a restored signer their bans.

        A signer whose database was restored asks every pinned peer, every other signer of its
        shares, and every signer of a common key that an answer names. It signs nothing before all
        have answered. The running signer asks by itself: this command only reads. An answer counts
        once its signer is pinned: mpc-signer peers add. If a pin was removed on purpose, do without
        that signer: mpc-signer bans do-without.

        Exit code 0: no answer is missing; 1: the signer waits for answers.
        """
        import asyncio

        from mpc.restored.watch import HOW_TO_PIN, pin_or_do_without

        with operator_errors():
            found, peers = asyncio.run(_answers(settings_of(context)))
        is_waiting = found is not None and found.nonce is not None
        rows = [_answer_row(each, is_waiting) for each in peers]
        if as_json:
            print_json(
                {
                    "is_waiting": is_waiting,
                    "restore_noticed_at": _time(None if found is None else found.noticed_at),
                    "why": found and found.why,
                    "all_answered_at": _time(None if found is None else found.answered_at),
                    "peers": rows,
                }
            )
        elif found is None or found.noticed_at is None:
            out.print("no restore of this database was noticed, so no peer was asked")
        else:
            out.print(
                f"restore noticed at {_time(found.noticed_at)}: {found.why}; "
                + ("this signer takes no work yet" if is_waiting else "all peers have answered"),
                markup=False,
            )
            for row in rows:
                row["is_pinned"] = "yes" if row["is_pinned"] else "no"
                row["named_by"] = ", ".join(row["named_by"]) or None
            print_table(ANSWER_COLUMNS, [[row[name] for name in ANSWER_COLUMNS] for row in rows])
            missing = [each for each in peers if each.answered_at is None]
            unpinned = [each.signer for each in missing if not each.is_pinned]
            if is_waiting and unpinned:
                out.print(pin_or_do_without(unpinned), markup=False)
            elif is_waiting and not any(each.is_pinned for each in peers):
                out.print(f"Pin a peer: {HOW_TO_PIN}", markup=False)
        if is_waiting:
            raise typer.Exit(EXIT_FAILED)

    @app.command()
    def do_without(
        context: typer.Context,
        signers: Annotated[
            list[str], typer.Argument(help="The peers whose answers will never come.")
        ],
        reason: Annotated[str, typer.Option(help="Why they cannot answer, for the audit.")],
    ) -> None:
        """Let a restored signer work without the answers of peers that are gone for good.

        A ban that only this signer and such a peer knew stays forgotten. So first ask the owners of
        the other signers, and compare with the bans in GET /v1/signers. Add what is missing:
        mpc-signer bans add.

        What such a peer says of share sets does not count either, and signers that only its answer
        names are not asked. If you do without all other signers of a key, nobody can say which
        share set is in use: this signer then uses the set that was restored.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "both hosts burnt down, Ada has their copies")
            left = asyncio.run(_do_without(settings_of(context), signers, why))
        for signer in signers:
            what = "does without" if signer in left else "needed no answer of"
            out.print(f"{what} {signer}", markup=False)

    @app.command("ask-again")
    def ask_again(
        context: typer.Context,
        reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    ) -> None:
        """Have a restored signer ask the other signers again.

        For uncertain shares (mpc-signer shares list): another signer may not have used the set when
        it was asked, for example because a refresh was in progress. As after the restore, this
        signer takes no work before all have answered.
        """
        import asyncio

        with operator_errors():
            why = reason_of(reason, "the refresh of signer-2 has ended")
            asyncio.run(_ask_again(settings_of(context), why))
        out.print("asks again within seconds; see: mpc-signer bans answers", markup=False)

    @app.command()
    def add(
        context: typer.Context,
        key: Annotated[UUID, typer.Argument(help="The root key's id.")],
        signer: Annotated[str, typer.Argument(help="The signer to ban.")],
        reason: Annotated[str, typer.Option(help="The reason, for the audit.")],
    ) -> None:
        """Ban a signer permanently, for example because a restored database lacks the ban."""
        import asyncio

        from mpc.peers import checked_signer

        with operator_errors():
            why = reason_of(reason, "the backup was made before the ban")
            settings, banned = settings_of(context), checked_signer(signer)
            if banned == settings.node.id:
                raise OperatorError(
                    f"{banned} is this signer itself",
                    "To stop this signer, use: mpc-signer freeze.",
                )
            asyncio.run(_add(settings, key, banned, f"by {operator_name()}: {why}"))
        out.print(f"banned {banned} under {key}, permanently", markup=False)

    @app.command()
    def resolve(
        context: typer.Context,
        key: Annotated[UUID, typer.Argument(help="The root key's id.")],
        signer: Annotated[str, typer.Argument(help="The other signer of the pair.")],
        reason: Annotated[str, typer.Option(help="The cause that you found, for the audit.")],
        is_cleared: Annotated[
            bool, typer.Option("--clear", help="This signer's host is known to be the cause.")
        ] = False,
        is_ban: Annotated[
            bool, typer.Option("--ban", help="The other signer may have caused the stop: ban it.")
        ] = False,
    ) -> None:
        """Clear or ban a pair that a stop of this signer has left in flight.

        Until then the two signers do not sign together under the key, and requests that need them
        wait. Give --clear only if you know why the process ended: a restart, a power failure, the
        kernel's out-of-memory killer. Each crash that the other signer caused could give it a bit
        of this signer's secret. So give --ban if the cause is unknown. A ban is permanent: no
        command lifts it. Use a new key then, or sign with the remaining signers.
        """
        import asyncio

        if is_cleared == is_ban:
            raise typer.BadParameter("give either --clear or --ban")
        with operator_errors():
            why = reason_of(reason, "the host was restarted for an upgrade")
            said = asyncio.run(_resolve(settings_of(context), key, signer, why, is_ban))
        out.print(said, markup=False)

    return app


async def _all(settings: SignerSettings) -> tuple[list[KnownBan], list[InFlight]]:
    from custody.node.connections import open_database
    from mpc.bans.in_flight import left

    async with open_database(settings) as database:
        bans = _bans(settings, database)
        known, earned = await bans.all(), bans.earned()
        pairs = {(each.key_id, each.signer, each.banned) for each in known}
        known += [each for each in earned if (each.key_id, each.signer, each.banned) not in pairs]
        barred = {(each.key_id, each.banned) for each in earned}
        return known, [x for x in await left(database) if (x.key_id, x.signer) not in barred]


def _bans(settings: SignerSettings, database: Pool) -> Bans:
    """Return all bans, including those that a process of this signer has not written yet."""
    from custody.node.identity import load_identity
    from mpc.bans.bans import Bans
    from mpc.bans.earned_bans import EarnedBans

    identity = load_identity(settings.identity.private_key)
    return Bans(database, settings.node.id, identity, EarnedBans(settings.node.state_directory))


async def _add(settings: SignerSettings, key: UUID, banned: str, reason: str) -> None:
    from custody.node.connections import open_database
    from custody.node.identity import load_identity
    from mpc.bans.bans import Bans
    from mpc.peers import Peers

    identity = load_identity(settings.identity.private_key)
    async with open_database(settings) as database:
        await Peers(database).require(banned)
        await Bans(database, settings.node.id, identity).ban(key, banned, reason, None)


async def _resolve(
    settings: SignerSettings, key: UUID, signer: str, reason: str, is_ban: bool
) -> str:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from mpc.bans.in_flight import clear, find_left

    operator = operator_name()
    async with open_database(settings) as database:
        bans = _bans(settings, database)
        if not is_ban and signer in bans.earned_among(key, [signer]):
            raise OperatorError(
                f"{signer} has earned a ban under {key}, but its process has not written "
                "the ban yet: a ban is never cleared",
                "Start mpc-signer, which writes the ban, or give --ban.",
            )
        found = await find_left(database, key, signer)
        if is_ban:
            why = f"left in flight, then banned by {operator}: {reason}"
            await bans.ban(key, signer, why, found.ceremonies[0])
        changes = AuditedChanges(database, settings.node.id)
        if not await clear(changes, found, operator, reason):
            raise OperatorError(
                f"a ceremony with {signer} under {key} is running", "Try again in a minute."
            )
    if is_ban:
        return f"banned {signer} under {key}, permanently"
    times = found.cleared_before + 1
    return f"cleared: {signer} may sign with this signer under {key} again ({times} so far)"


async def _answers(settings: SignerSettings) -> tuple[RestoreState | None, list[PeersAnswer]]:
    from custody.node.connections import open_database
    from mpc.restored.watch import peers_answers, restore_state

    async with open_database(settings) as database:
        return await restore_state(database), await peers_answers(database, settings.node.id)


async def _ask_again(settings: SignerSettings, reason: str) -> None:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from mpc.restored.watch import ask_again

    async with open_database(settings) as database:
        changes = AuditedChanges(database, settings.node.id)
        if not await ask_again(changes, operator_name(), reason):
            raise OperatorError(
                "there is nothing to ask: this signer was not restored and has no uncertain share, "
                "or it is asking already",
                "See: mpc-signer bans answers. After a restore, first start mpc-signer: it notices "
                "the restore, and asks.",
            )


async def _do_without(settings: SignerSettings, signers: list[str], reason: str) -> tuple[str, ...]:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from mpc.restored.watch import do_without, peers_answers, restore_state

    async with open_database(settings) as database:
        asked = {each.signer for each in await peers_answers(database, settings.node.id)}
        for signer in signers:
            if signer not in asked:
                raise OperatorError(
                    f"this signer does not ask {signer!r}", "See: mpc-signer bans answers"
                )
        found = await restore_state(database)
        if found is None or found.nonce is None:
            raise OperatorError(
                "this signer waits for no answer",
                "After a restore, first start mpc-signer: it notices the restore, and asks.",
            )
        changes = AuditedChanges(database, settings.node.id)
        return await do_without(changes, signers, operator_name(), reason)


def _answer_row(answer: PeersAnswer, is_waiting: bool) -> dict[str, Any]:
    said = "not asked"
    if answer.operator is not None:
        said = f"done without by {answer.operator}: {answer.reason}"
    elif answer.answered_at is not None:
        said = "answered"
    elif is_waiting:
        said = "missing"
    return {
        "signer": answer.signer,
        "is_pinned": answer.is_pinned,
        "named_by": answer.named_by,
        "answer": said,
        "at": _time(answer.answered_at),
        "bans": answer.bans,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _row(ban: KnownBan) -> dict[str, Any]:
    return {
        "key_id": str(ban.key_id),
        "signer": ban.signer,
        "does_not_sign_with": ban.banned,
        "since": ban.learned_at.isoformat(),
        "why": ban.reason,
        "is_left_in_flight": False,
    }


def _left_row(found: InFlight, me: str) -> dict[str, Any]:
    return {
        "key_id": str(found.key_id),
        "signer": me,
        "does_not_sign_with": found.signer,
        "since": found.begun_at.isoformat(),
        "why": f"left in flight by a stop; cleared {found.cleared_before} times before",
        "is_left_in_flight": True,
    }
