"""Options of a command that are described once, as the fields of a dataclass."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

import typer

Values = TypeVar("Values")


def options_of(
    values: type[Values],
) -> Callable[[Callable[[typer.Context, Values], None]], Callable[..., None]]:
    """Give a command one option for each field of a dataclass, and call it with the dataclass.

    The type of a field is ``Annotated[..., typer.Option(help=...)]``; its default is the option's.
    """
    hints = get_type_hints(values, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    for field in fields(values):  # type: ignore[arg-type]  # a dataclass
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        parameters.append(
            inspect.Parameter(field.name, keyword, default=default, annotation=hints[field.name])
        )

    def decorate(command: Callable[[typer.Context, Values], None]) -> Callable[..., None]:
        def run(context: typer.Context, **given: Any) -> None:
            command(context, values(**given))

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate
