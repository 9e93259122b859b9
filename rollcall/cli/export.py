"""`rollcall export ASSET --format …`: what is known of an asset, for other programs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_adapters
from rollcall.cli.outputs import STDOUT, check_writable, write_text
from rollcall.cli.progress import shown_progress
from rollcall.cli.show import note

if TYPE_CHECKING:
    from infra.wiring import Adapters

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
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="F", help="A file, or s3://bucket/key; else stdout (the overlay needs one).")
    ] = None,
) -> None:
    """Write who spoke when in an asset: JSON, RTTM, WebVTT, CSV, AVA-ActiveSpeaker CSV, or a video with boxes and names.

    Example:  rollcall export episode1.mp4 --format vtt -o episode1.vtt
    """
    from infra.places import is_object

    if form == "overlay" and output is None:
        raise typer.BadParameter("an overlay is a video: say where to with --output F.mp4")
    target = Path(output or STDOUT)
    away = output if output is not None and is_object(output) else None
    if away is None:
        check_writable(None if form == "overlay" else target, film=target if form == "overlay" else None)
    with open_adapters() as adapters, TemporaryDirectory(prefix="export-", dir=adapters.settings.home / "tmp") as folder:
        if away is not None:
            target = Path(folder, PurePosixPath(away).name)
        _write(adapters, asset, form, target)
        if away is not None:
            adapters.places.put(away, target)
    if output is not None:
        note(f"wrote {output}")


def _write(adapters: Adapters, asset: str, form: str, output: Path) -> None:
    from rollcall.api.document import dumps
    from rollcall.exports import TEXT_FORMATS
    from rollcall.library import Library

    library = Library(adapters.catalog, adapters.artifacts, adapters.places)
    found = library.asset(asset)
    doc = library.document(found)
    if form != "overlay":
        write_text(output, TEXT_FORMATS[form](doc))
        return
    source = library.source(found).path()
    check_writable(film=output, source=source)
    with shown_progress() as report:
        adapters.sandbox.call(
            "rollcall.exports.overlay:write_overlay", source, dumps(doc), output.resolve(),
            timeout=adapters.settings.child_seconds(doc["asset"]["duration"]), on_progress=report,
        )  # fmt: skip
