"""The commands, and what their errors look like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from hashneg import __version__
from hashneg.cli.console import Console
from hashneg.cli.demo import demo
from hashneg.cli.guard import explain, stop_code, stop_signals
from hashneg.cli.options import MineOptions
from hashneg.cli.plan import plan

app = typer.Typer(
    name="hashneg",
    help="Mine hard negatives for contrastive learning with binary codes.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if arguments == ["--version"]:
        print(f"hashneg {__version__}")
        return 0
    try:
        with stop_signals():
            result = app(args=arguments or ["--help"], prog_name="hashneg", standalone_mode=False)
    except KeyboardInterrupt as stop:  # commands say themselves how to go on
        return stop_code(stop)
    except typer.Abort:  # how typer passes on a Ctrl-C outside a command
        return 130
    except Exception as error:
        usage = getattr(error, "format_message", None)  # a wrong option, told by typer
        text = usage() if callable(usage) else explain(error)
        if text is None:
            raise
        Console().error(f"{text.rstrip('.')} (see hashneg {_command(arguments)}--help)" if callable(usage) else text)
        return 2
    return result if isinstance(result, int) else 0


def _command(arguments: list[str]) -> str:
    named = [argument for argument in arguments[:1] if not argument.startswith("-")]
    return "".join(f"{name} " for name in named if name in {command.name for command in app.registered_commands})


def _interruptible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn Ctrl-C into an exit code here, before typer makes something else of it."""

    def command(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except KeyboardInterrupt as stop:
            raise typer.Exit(stop_code(stop)) from None

    command.__doc__, command.__name__ = function.__doc__, function.__name__
    command.__annotations__ = get_type_hints(function, include_extras=True)
    command.__signature__ = inspect.signature(function).replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(annotation=command.__annotations__.get(name, parameter.annotation))
            for name, parameter in inspect.signature(function).parameters.items()
        ]
    )
    return command


def mine(**values: Any) -> int:
    """Find hard negatives of every anchor.

    A job that was stopped goes on where it was when the same command runs again.
    """
    from hashneg.cli.mine import run_mine

    return run_mine(MineOptions(**values))


mine.__signature__ = inspect.signature(MineOptions)  # type: ignore[attr-defined]
mine.__annotations__ = get_type_hints(MineOptions, include_extras=True)


def merge(
    slices: Annotated[
        list[Path], typer.Argument(metavar="SLICE...", help="Results of hashneg mine --rows, any order.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write; of the same kind as the slices.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> int:
    """Join the slices of a job to the same bytes as one run."""
    from hashneg.cli.merge import run_merge

    return run_merge(slices, output, quiet)


def info() -> int:
    """Show versions, backends, threads and where compiled code is kept."""
    from hashneg.cli.info import run_info

    return run_info()


for _function in (mine, merge, plan, info, demo):
    app.command(_function.__name__)(_interruptible(_function))
