"""Items of a list that the pinned nodes do not attest: they are never handed out."""

import inspect
from collections.abc import Callable
from dataclasses import replace

from custody.client.calls import Call, Item
from custody.client.errors import NotAttested, OnNotAttested
from custody.wire.resources import Key, Page, Wallet

_GIVE_A_PLAIN_FUNCTION = "on_not_attested: give a plain function, also to AsyncCustody"


def telling(call: Call[Page[Item]], on_not_attested: OnNotAttested | None) -> Call[Page[Item]]:
    """Return the call of a list that tells the application which items the list leaves out.

    Raise ValueError for an async function: nobody awaits it, so the application is not told.
    """
    if inspect.iscoroutinefunction(on_not_attested):
        raise ValueError(_GIVE_A_PLAIN_FUNCTION)
    return replace(call, on_not_attested=on_not_attested)


def require_checks(call: Call[Page[Item]], *, has_pins: bool) -> None:
    """Raise ValueError for an application that expects checked items, and has pinned no nodes."""
    if call.on_not_attested is not None and not has_pins:
        raise ValueError(
            "on_not_attested: pin the nodes first (pinned_nodes, or CUSTODY_PINNED_NODES_FILE): "
            "without pins, the client checks no item"
        )


def leave_out(item: object, error: NotAttested, call: Call[Page[Item]]) -> None:
    """Tell the application that an item is left out. Raise ``error`` if it does not want to know.

    The application gets the error and not the item, so that it cannot take the address from it.
    """
    error.item_id = item.id if isinstance(item, Wallet | Key) else None
    if call.on_not_attested is None:
        error.add_note("The list ends here. To read the others too, give it on_not_attested.")
        raise error
    told = NotAttested(*error.args)  # has no frames, which keep a page of the list in memory
    told.item_id = error.item_id
    tell: Callable[[NotAttested], object] = call.on_not_attested
    answer = tell(told)
    if inspect.isawaitable(answer):  # of a function that does not look like an async one
        if inspect.iscoroutine(answer):
            answer.close()
        raise ValueError(_GIVE_A_PLAIN_FUNCTION)
