"""`rollcall backup` and `restore`: the library in a folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.progress import shown_progress
from rollcall.cli.show import note, show_json, show_line

MEGABYTE = 1 << 20


def add_commands(app: typer.Typer) -> None:
    """Add `backup` and `restore`."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    target: Annotated[Path, typer.Argument(help="A new folder, or that of an earlier backup: then only what is new is copied.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy the library into a folder: the database as it is now, and the artifacts. Work may go on meanwhile.

    Example:  rollcall backup /mnt/backup/rollcall
    """
    from infra.backup import back_up
    from infra.catalog import runs

    with open_adapters() as adapters, shown_progress() as report:
        done = back_up(adapters.catalog, adapters.objects, target.absolute(), on_progress=report)
        with adapters.catalog.transaction() as connection:  # afterwards: in the backup itself it would be a run without an end
            runs.note_run(connection, "backup", summary={"assets": done.manifest.assets})
    manifest = done.manifest
    if as_json:
        show_json(
            {"made_at": manifest.made_at, "schema": manifest.schema, "assets": manifest.assets, "artifacts": manifest.count, "copied": done.copied,
             "kept": done.kept, "missing": done.missing, "database_bytes": manifest.database.size, "artifact_bytes": manifest.bytes}
        )  # fmt: skip
        return
    show_line(f"{manifest.assets} assets; {manifest.database.size / MEGABYTE:.1f} MB of database, {manifest.bytes / MEGABYTE:.1f} MB of artifacts")
    show_line(f"{done.copied} artifacts copied, {done.kept} were there")
    if done.missing:
        note(f"{done.missing} analyses are missing from the store and so from the backup; rollcall ingest makes them again")


def restore(
    source: Annotated[Path, typer.Argument(help="The folder of a backup.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the library that is here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring back the library of a backup. Workers and pages must not run meanwhile.

    Example:  rollcall restore /mnt/backup/rollcall
    """
    from infra.backup import restore as bring_back

    with open_adapters() as adapters, shown_progress() as report:
        done = bring_back(adapters.catalog, adapters.objects, source.absolute(), replace=replace, on_progress=report)
    if as_json:
        show_json(
            {"made_at": done.manifest.made_at, "assets": done.manifest.assets, "copied": done.copied, "kept": done.kept, "damaged": done.damaged}
        )
        return
    show_line(f"{done.manifest.assets} assets as of {done.manifest.made_at}; {done.copied} artifacts brought back, {done.kept} were there")
    if done.damaged:
        note(f"{done.damaged} artifacts of the backup are damaged and were left out; rollcall ingest makes them again")
