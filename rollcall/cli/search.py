"""`rollcall search`: every moment of a person, from a photo, a frame, or a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollcall.cli.files import media_file
from rollcall.cli.opening import open_adapters, user_name
from rollcall.cli.show import as_json_list, note, person_words, show_line, show_table
from rollcall.shown import clock

if TYPE_CHECKING:
    from tasks.search import Moment, QueryFace

FACE_DIGITS = 4  # of a cosine


def add_commands(app: typer.Typer) -> None:
    """Add `search`."""
    app.command("search")(search)


def search(
    image: Annotated[str | None, typer.Option("--image", metavar="F[@SECONDS]", help="A photo, or a frame of a video.")] = None,
    face: Annotated[int | None, typer.Option("--face", min=1, metavar="N", help="The N-th face from the left; else the largest.")] = None,
    person: Annotated[str | None, typer.Option("--person", metavar="P", help="An id, the beginning of one, or a name.")] = None,
    speaking: Annotated[bool, typer.Option("--speaking", help="Only where they speak.")] = False,
    collection: Annotated[str | None, typer.Option("--collection", metavar="C", help="Only this collection.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=-1, max=1, metavar="COSINE", help="Else as the embedder's manifest says.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Find every moment in which somebody speaks or is seen, in any asset. No hit is a result too.

    Example:  rollcall search --image photo.jpg
    """
    if (image is None) == (person is None):
        raise typer.BadParameter("name one of --image and --person")
    if person is not None and face is not None:
        raise typer.BadParameter("--face belongs to --image")
    from infra.catalog import lookups, runs
    from tasks.plan import make_plan
    from tasks.search import query_face, search_face, search_person

    asked: dict[str, Any] = {"collection": collection, "speaking": speaking}
    with open_adapters() as adapters:
        if image is not None:
            plan = make_plan(adapters.settings)
            path, second = frame_of(image)
            looked_for = query_face(media_file(path), second, face, adapters, plan)
            found = search_face(looked_for, adapters, plan, threshold=threshold, collection=collection)
            moments = found.moments
            asked |= {"threshold": found.threshold, "embedder": plan.models["embedder"].sha256}
            if not as_json:
                _show_query(looked_for, found.threshold)
        else:
            with adapters.catalog.reading() as connection:
                moments = search_person(connection, lookups.find_person(connection, str(person)), collection=collection)
        moments = tuple(moment for moment in moments if moment.speaking or not speaking)
        with adapters.catalog.transaction() as connection:
            runs.note_search(connection, "image" if image else "person", who=user_name(), parameters=asked, hits=len(moments))
    if as_json:
        as_json_list(moment_object(moment) for moment in moments)
        return
    _show_moments(moments)


def frame_of(image: str) -> tuple[Path, float | None]:
    """Return the file and the second that `F@SECONDS` names; a file whose own name holds an @ is meant as it is.

    >>> frame_of("clip.mp4@12.5")
    (PosixPath('clip.mp4'), 12.5)
    """
    name, at, second = image.rpartition("@")
    if at and not Path(image).exists():
        try:
            return Path(name), float(second)
        except ValueError:
            pass  # no number: the @ is part of the name
    return Path(image), None


def moment_object(moment: Moment) -> dict[str, Any]:
    """Return a moment as lists give it."""
    return {
        "asset": moment.asset,
        "asset_sha256": moment.asset_sha256,
        "start": round(moment.start, 3),
        "end": round(moment.end, 3),
        "person_id": moment.person_id,
        "person": moment.person,
        "on_screen": moment.on_screen,
        "confidence": None if moment.confidence is None else round(moment.confidence, 4),
        "cosine": None if moment.cosine is None else round(moment.cosine, FACE_DIGITS),
        "speaking": moment.speaking,
        "track_id": moment.track_id,
        "through": moment.through,
        "chip_time": None if moment.chip_time is None else round(moment.chip_time, 3),
        "chip_box": None if moment.chip_box is None else [round(value, 2) for value in moment.chip_box],
    }


def _show_query(face: QueryFace, threshold: float) -> None:
    which = "" if face.faces == 1 else f", face {face.number} of {face.faces} from the left (--face takes another)"
    x1, y1, x2, y2 = face.box
    note(
        f"Looking for the face at {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f}{which}; quality {face.quality:.2f}, the same from cosine {threshold:.2f} on"
    )


def _show_moments(moments: tuple[Moment, ...]) -> None:
    if not moments:
        note("Nobody like that is in the library.")
        return
    cells = [
        (
            m.asset,
            clock(m.start),
            clock(m.end),
            ("speaks" if m.on_screen else "speaks off screen") if m.speaking else "is seen",
            person_words(m.person, m.person_id),
            "" if m.cosine is None else f"{m.cosine:.2f}" + (" *" if m.through else ""),
        )
        for m in moments
    ]
    show_table(("asset", "from", "to", "", "who", "cosine"), cells, right=("from", "to"))
    if any(moment.through for moment in moments):
        note("* less alike than the threshold here, but known as the same person from elsewhere")
    assets = len({moment.asset_sha256 for moment in moments})
    spoken = sum(moment.end - moment.start for moment in moments if moment.speaking)
    show_line(f"{len(moments)} moments in {assets} asset{'s' if assets > 1 else ''}; speaks for {clock(spoken)}")
