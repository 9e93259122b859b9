"""`rollcall index verify|rebuild|snapshot`: the copy of the faces' vectors that searches look into, and how it stands to the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.show import show_json, show_line

if TYPE_CHECKING:
    from infra.vectors import VectorIndex

index = typer.Typer(help="The index of faces that searches look into.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add `index`."""
    app.add_typer(index, name="index")


@index.command("verify")
def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Compare all ids, and the vectors of a thousand.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the index with the library: checksums of its files, ids, and vectors. Exit 1 where they differ.

    Example:  rollcall index verify
    """
    from tasks.index import verify_index
    from tasks.plan import make_plan

    with open_adapters() as adapters:
        differences, compared = verify_index(adapters, make_plan(adapters.settings), quick=quick)
    if as_json:
        show_json({"compared": compared, "differences": differences})
    else:
        for line in differences:
            show_line(line)
        remedy = "; `rollcall index rebuild` makes it anew from the library" if differences else ""
        show_line(f"{compared} vectors compared: {'they differ' if differences else 'all are equal'}{remedy}")
    if differences:
        raise typer.Exit(1)


@index.command("rebuild")
def rebuild() -> None:
    """Make the index anew from the library alone, whatever its files hold.

    Example:  rollcall index rebuild
    """
    _write(afresh=True)


@index.command("snapshot")
def snapshot() -> None:
    """Write the index as it now is, so that commands and other machines start from it. Happens by itself when much was published.

    Example:  rollcall index snapshot
    """
    _write(afresh=False)


def _write(*, afresh: bool) -> None:
    from tasks.index import write_snapshot
    from tasks.plan import make_plan

    with open_adapters() as adapters:
        written, held = write_snapshot(adapters, make_plan(adapters.settings), afresh=afresh)
        show_line(f"{_words(held)}: {'written' if written else 'the snapshot that is there is up to date'}")


def _words(held: VectorIndex) -> str:
    return f"{len(held)} vectors, {'every one is looked at' if held.is_exact else 'searched through inverted lists'}"
