"""Looks at the library: assets, turns, people, one person, airtime."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollcall.cli.opening import open_library
from rollcall.cli.show import as_json_list, note, person_words, reason_words, share, show_json, show_line, show_table
from rollcall.shown import clock, short

if TYPE_CHECKING:
    from infra.catalog.rows import AppearanceRow, PersonRow, TurnRow

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Collection = Annotated[str | None, typer.Option("--collection", metavar="C", help="Only this collection.")]
Day = Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands that only look."""
    app.command("assets")(assets)
    app.command("turns")(turns)
    app.command("people")(people)
    app.command("person")(person)
    app.command("airtime")(airtime)


def assets(as_json: AsJson = False, collection: Collection = None) -> None:
    """List the assets of the library with their state.

    Example:  rollcall assets --collection news
    """
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        rows = lookups.list_assets(connection, collection=collection)
        known = {row.sha256 for row in rows}
        aside = [row for row in lookups.list_quarantine(connection) if row.sha256 not in known]
    flat: list[dict[str, Any]] = [
        {
            "asset": row.name, "asset_sha256": row.sha256, "collection": row.collection, "state": row.state, "reason": row.reason,
            "retryable": row.retryable, "duration": row.duration, "people": row.people, "turns": row.turns, "talk_time": round(row.talk_time, 3),
            "uri": row.uri,
        }
        for row in rows
    ]  # fmt: skip
    flat += [
        {
            "asset": row.name, "asset_sha256": row.sha256, "collection": None, "state": "quarantined", "reason": row.reason, "retryable": False,
            "duration": None, "people": 0, "turns": 0, "talk_time": 0.0, "uri": row.uri,
        }
        for row in aside
        if collection is None
    ]  # fmt: skip
    if as_json:
        as_json_list(flat)
        return
    if not flat:
        note("The library is empty; rollcall ingest FOLDER fills it.")
        return
    cells = [
        (
            r["asset"],
            short(r["asset_sha256"] or ""),
            r["state"],
            clock(r["duration"]),
            r["people"],
            r["turns"],
            clock(r["talk_time"]),
            reason_words(r["asset"], r["reason"]),
        )
        for r in flat
    ]
    show_table(("asset", "hash", "state", "length", "people", "turns", "speech", "reason"), cells, right=("length", "people", "turns", "speech"))


def turn_object(row: TurnRow) -> dict[str, Any]:
    """Return a turn as lists give it."""
    return {
        "asset": row.asset,
        "asset_sha256": row.asset_sha256,
        "start": round(row.start, 3),
        "end": round(row.end, 3),
        "person_id": row.person_id,
        "person": row.person,
        "people_id": row.people_id,
        "voice_id": row.voice_id,
        "on_screen": row.on_screen,
        "confidence": round(row.confidence, 4),
        "audio_track": row.audio_track,
    }


def who_words(row: TurnRow) -> str:
    """Return who speaks in a turn: name, short id, `p1` for somebody whom the library does not know, or the voice."""
    if row.people_id is None:
        return f"voice {row.voice_id}"
    return person_words(row.person, row.person_id) or row.people_id


def turns(asset: Annotated[str, typer.Argument(help="A name, a unique end of it, or the beginning of its hash.")], as_json: AsJson = False) -> None:
    """List who spoke when in an asset.

    Example:  rollcall turns episode1.mp4
    """
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        found = lookups.find_asset(connection, asset)
        rows = lookups.asset_turns(connection, found.sha256)
    if as_json:
        as_json_list(turn_object(row) for row in rows)
        return
    if not rows:
        note(f"No turns in {found.name}: it is {found.state}{f' ({reason_words(found.name, found.reason)})' if found.reason else ''}.")
        return
    cells = [
        (clock(r.start), clock(r.end), who_words(r) + ("" if r.on_screen else " (off screen)"), f"{r.end - r.start:.1f}", f"{r.confidence:.2f}")
        for r in rows
    ]
    show_table(("from", "to", "who", "seconds", "confidence"), cells, right=("from", "to", "seconds", "confidence"))
    _hint_at_names({row.person_id for row in rows if row.person_id and not row.person})


def person_object(row: PersonRow) -> dict[str, Any]:
    """Return a person as lists give it."""
    return {
        "person_id": row.id,
        "person": row.name,
        "aliases": row.aliases,
        "assets": row.assets,
        "turns": row.turns,
        "talk_time": round(row.talk_time, 3),
        "screen_time": round(row.screen_time, 3),
    }


def people(as_json: AsJson = False) -> None:
    """List the persons of the library, who speaks most first.

    Example:  rollcall people
    """
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        rows = lookups.list_persons(connection)
    if as_json:
        as_json_list(person_object(row) for row in rows)
        return
    if not rows:
        note("Nobody is known yet.")
        return
    cells = [(short(r.id), r.name or "", clock(r.talk_time), clock(r.screen_time), r.turns, r.assets) for r in rows]
    show_table(("id", "name", "spoke", "on screen", "turns", "assets"), cells, right=("spoke", "on screen", "turns", "assets"))
    _hint_at_names({row.id for row in rows if not row.name})


def person(who: Annotated[str, typer.Argument(metavar="PERSON", help="An id, the beginning of one, or a name.")], as_json: AsJson = False) -> None:
    """Show one person: every turn and every appearance.

    Example:  rollcall person "Grace Hopper"
    """
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        row = lookups.find_person(connection, who)
        spoken = lookups.person_turns(connection, row.id)
        seen = lookups.person_appearances(connection, row.id)
    if as_json:
        show_json({**person_object(row), "turn_list": [turn_object(t) for t in spoken], "appearances": [_appearance_object(a) for a in seen]})
        return
    show_line(f"{row.name or 'Not named yet'}  ({row.id})", style="bold")
    if row.aliases:
        show_line(f"once also {', '.join(row.aliases)}")
    show_line(f"spoke {clock(row.talk_time)} in {row.turns} turns, on screen {clock(row.screen_time)}, in {row.assets} assets")
    show_line()
    moments = [(t.asset, t.start, t.end, "speaks" if t.on_screen else "speaks off screen") for t in spoken]
    moments += [(a.asset, a.start, a.end, "is seen") for a in seen]
    cells = [(asset, clock(start), clock(end), what) for asset, start, end, what in sorted(moments)]
    show_table(("asset", "from", "to", ""), cells, right=("from", "to"))
    _hint_at_names({row.id} if not row.name else set())


def airtime(
    as_json: AsJson = False,
    collection: Collection = None,
    since: Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="From this day on.")] = None,
    until: Annotated[datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help="Up to this day.")] = None,
) -> None:
    """Say how long everybody spoke and was seen. Days are those of the recording, else of the ingest.

    Example:  rollcall airtime --since 2026-01-01
    """
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        rows = lookups.airtime(connection, collection=collection, since=since.date() if since else None, until=until.date() if until else None)
    if as_json:
        as_json_list(
            {
                "person_id": r.person_id, "person": r.person, "talk_time": round(r.talk_time, 3), "screen_time": round(r.screen_time, 3),
                "turns": r.turns, "assets": r.assets,
            }
            for r in rows
        )  # fmt: skip
        return
    if not rows:
        note("Nobody has spoken or been seen.")
        return
    talk = sum(r.talk_time for r in rows)
    cells = [(person_words(r.person, r.person_id), clock(r.talk_time), share(r.talk_time, talk), clock(r.screen_time), r.assets) for r in rows]
    show_table(("who", "spoke", "share", "on screen", "assets"), cells, right=("spoke", "share", "on screen", "assets"))


def _appearance_object(row: AppearanceRow) -> dict[str, Any]:
    return {"asset": row.asset, "asset_sha256": row.asset_sha256, "start": round(row.start, 3), "end": round(row.end, 3)}


def _hint_at_names(unnamed: set[str | None]) -> None:
    if unnamed:
        note(f'To name a person: rollcall name {short(min(str(each) for each in unnamed))} "…"')
