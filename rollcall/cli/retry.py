"""`rollcall retry`: what failed or was set aside is tried again."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.ingest import SOME_FAILED, Direct, Workers, show_summary, shown_events
from rollcall.cli.opening import open_adapters, open_library
from rollcall.cli.show import as_json_list, note, reason_words, show_json, show_line, show_table

if TYPE_CHECKING:
    from infra.catalog.connection import Connection
    from infra.catalog.rows import AssetRow

TROUBLED = ("failed", "quarantined")


def add_commands(app: typer.Typer) -> None:
    """Add `retry`."""
    app.command("retry")(retry)


def retry(
    assets: Annotated[list[str] | None, typer.Argument(metavar="ASSET…", help="Else all that failed or were set aside.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only list them, with the reason.")] = False,
    later: Annotated[bool, typer.Option("--later", help="Not now: the next ingest or scan tries them, and so the service's workers.")] = False,
    workers: Workers = None,
    direct: Direct = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list, or the summary, as JSON.")] = False,
) -> None:
    """Try again what failed or was set aside: after a file was repaired. Changed settings and models need no retry.

    Example:  rollcall retry broken.mp4
    """
    if listed and later:
        raise typer.BadParameter("--list and --later exclude each other")
    if listed:
        _show_list(assets or [], as_json=as_json)
        return
    chosen = _released(assets or [])
    if not chosen:
        note("Nothing has failed.")
    if later:
        released = [row.name for rows in chosen.values() for row in rows]
        show_json({"released": released}) if as_json else show_line(f"{len(released)} are tried again by the next ingest or scan")
        return
    _try_now(chosen, workers=workers, direct=direct, as_json=as_json)


def _try_now(chosen: dict[str, list[AssetRow]], *, workers: int | None, direct: bool, as_json: bool) -> None:
    from flows.process_library import process_library
    from flows.summary import Summary

    summaries = []
    for collection, rows in sorted(chosen.items()):
        uris = {str(row.uri) for row in rows}
        roots = sorted({_root(row) for row in rows})
        with shown_events() as hear:
            summaries.append(process_library(roots, collection=collection, workers=workers, direct=direct, only=uris, on_event=hear))
    whole = Summary(
        results=tuple(result for summary in summaries for result in summary.results),
        ignored=0,
        seconds=sum(summary.seconds for summary in summaries),
        terms=summaries[0].terms if summaries else (),
    )
    show_summary(whole, as_json=as_json)
    if whole.failed:
        raise typer.Exit(SOME_FAILED)


def _show_list(names: Collection[str], *, as_json: bool) -> None:
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        rows = [row for row in _meant(connection, names) if row.state in TROUBLED]
        aside = {row.sha256: row for row in lookups.list_quarantine(connection)}
    if as_json:
        as_json_list(
            {
                "asset": row.name, "asset_sha256": row.sha256, "collection": row.collection, "state": row.state, "reason": row.reason,
                "error": aside[row.sha256].error if row.sha256 in aside else None, "since": aside[row.sha256].since if row.sha256 in aside else None,
                "retryable": row.retryable, "attempts": row.attempts, "uri": row.uri,
            }
            for row in rows
        )  # fmt: skip
    elif rows:
        show_table(("asset", "state", "why"), [(row.name, row.state, reason_words(row.name, row.reason)) for row in rows])
    else:
        note("Nothing has failed.")


def _meant(connection: Connection, names: Collection[str]) -> list[AssetRow]:
    """Return the assets that are named; without names all that failed or were set aside."""
    from infra.catalog import lookups

    if names:
        return [lookups.find_asset(connection, name) for name in names]
    return [row for state in TROUBLED for row in lookups.list_assets(connection, state=state)]


def _released(names: Collection[str]) -> dict[str, list[AssetRow]]:
    """Let failed and quarantined assets be tried again; return them by collection. Those whose file is gone are named and left."""
    from infra.catalog import assets

    chosen: dict[str, list[AssetRow]] = {}
    with open_adapters() as adapters, adapters.catalog.transaction() as connection:
        for row in _meant(connection, names):
            if row.state not in TROUBLED:
                note(f"{row.name} is {row.state}: nothing to try again")
            elif row.uri is None or adapters.places.stat(row.uri) is None:
                note(f"{row.name}: its file is gone{f': {row.uri}' if row.uri else ''}")
            else:
                assets.release(connection, sha256=row.sha256)
                chosen.setdefault(row.collection or "library", []).append(row)
    return chosen


def _root(row: AssetRow) -> str:
    """Return the folder below which the asset's name is a path, so that it keeps its name; the file itself where it is none."""
    uri = str(row.uri)
    return uri.removesuffix(row.name) if uri.endswith(f"/{row.name}") else uri
