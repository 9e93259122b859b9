"""`rollcall export ASSET --format …`: what is known of an asset, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.outputs import check_writable, write_text
from rollcall.cli.progress import shown_progress
from rollcall.cli.show import note

FORMATS = ("json", "rttm", "vtt", "csv", "ava", "overlay")


def add_commands(app: typer.Typer) -> None:
    """Add `export`."""
    app.command("export")(export)


def _known_format(value: str) -> str:
    if value not in FORMATS:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(FORMATS)}")
    return value


def export(
    asset: Annotated[str, typer.Argument(help="A name, a unique end of it, or the beginning of its hash.")],
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="What to write.", callback=_known_format)] = "json",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="F", help="Where to; else stdout (the overlay needs a file).")] = None,
) -> None:
    """Write who spoke when in an asset: JSON, RTTM, WebVTT, CSV, AVA-ActiveSpeaker CSV, or a video with boxes and names.

    Example:  rollcall export episode1.mp4 --format vtt -o episode1.vtt
    """
    from rollcall.api.document import dumps
    from rollcall.exports import TEXT_FORMATS
    from rollcall.library import Library

    if form == "overlay" and output is None:
        raise typer.BadParameter("an overlay is a video: say where to with --output F.mp4")
    check_writable(None if form == "overlay" else output, film=output if form == "overlay" else None)
    with open_adapters() as adapters:
        library = Library(adapters.catalog, adapters.artifacts, adapters.places)
        found = library.asset(asset)
        doc = library.document(found)
        if form == "overlay" and output is not None:
            source = library.source(found).path()
            check_writable(film=output, source=source)
            with shown_progress() as report:
                adapters.sandbox.call(
                    "rollcall.exports.overlay:write_overlay", source, dumps(doc), output.resolve(),
                    timeout=adapters.settings.child_seconds(doc["asset"]["duration"]), on_progress=report,
                )  # fmt: skip
        else:
            write_text(output or Path("-"), TEXT_FORMATS[form](doc))
    if output is not None:
        note(f"wrote {output}")
