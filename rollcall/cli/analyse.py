"""`rollcall analyse FILE`: who spoke when in one file, without a library."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollcall.cli.files import media_file, sha256_of
from rollcall.cli.outputs import STDOUT, check_writable, write_text
from rollcall.cli.progress import shown_progress
from rollcall.cli.show import note, plain, share, show_line, show_table
from rollcall.shown import clock

if TYPE_CHECKING:
    from collections.abc import Callable

Document = dict[str, Any]


def add_commands(app: typer.Typer) -> None:
    """Add `analyse`."""
    app.command("analyse")(analyse)


def analyse(
    file: Annotated[Path, typer.Argument(help="A video or sound file.", show_default=False)],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="F", help="Write the whole result as JSON; - for stdout.")] = None,
    rttm_file: Annotated[Path | None, typer.Option("--rttm", metavar="F", help="Write the turns as RTTM; - for stdout.")] = None,
    overlay_file: Annotated[Path | None, typer.Option("--overlay", metavar="F", help="Write a video with boxes, names and turns (mp4).")] = None,
) -> None:
    """Say who spoke when in one file. No library is needed or touched.

    Example:  rollcall analyse interview.mp4 --json interview.json
    """
    media_file(file)
    check_writable(json_file, rttm_file, film=overlay_file, source=file)
    from infra.settings import load_settings
    from infra.wiring import open_sandbox
    from rollcall.api.document import document, dumps
    from rollcall.exports import rttm
    from tasks.clip import analyse_clip
    from tasks.plan import make_plan

    settings = load_settings()
    spent = StageClock()
    plan = make_plan(settings)
    with open_sandbox(settings) as sandbox, shown_progress() as report:
        analysis = analyse_clip(file, plan, sandbox, settings, on_progress=spent.beside(report))
        spent.stop()
        doc = document(analysis, name=file.name, sha256=sha256_of(file))
        if overlay_file is not None:
            limit = settings.child_seconds(analysis.info.duration)
            sandbox.call(
                "rollcall.exports.overlay:write_overlay",
                file.absolute(),
                dumps(doc),
                overlay_file.resolve(),
                timeout=limit,
                on_progress=report,
            )
    if json_file is not None:
        write_text(json_file, dumps(doc))
    if rttm_file is not None:
        write_text(rttm_file, rttm(doc))
    if STDOUT not in (str(json_file), str(rttm_file)):
        _show_summary(doc, spent)
    for term in plan.terms():
        note(term)
    for written in (json_file, rttm_file, overlay_file):
        if written is not None and str(written) != STDOUT:
            note(f"wrote {written}")


class StageClock:
    """Measures how long each stage takes, by what it says of its progress."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = self._last = time.monotonic()
        self._stage: str | None = None

    def beside(self, report: Callable[[str, float, float], None]) -> Callable[[str, float, float], None]:
        """Return a progress function that measures and passes on."""

        def heard(stage: str, done: float, total: float) -> None:
            self._turn_to(stage)
            report(stage, done, total)

        return heard

    def stop(self) -> None:
        """End the last stage."""
        self._turn_to(None)

    @property
    def total(self) -> float:
        """Return the seconds from the start to the last stage's end."""
        return self._last - self._began

    def _turn_to(self, stage: str | None) -> None:
        now = time.monotonic()
        name = self._stage or "start-up"
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last, self._stage = now, stage


def _show_summary(doc: Document, spent: StageClock) -> None:
    asset = doc["asset"]
    picture = f"{asset['width']}x{asset['height']}, {asset['frame_rate']:g} frames/s" if asset["width"] else "no picture"
    show_line(f"{plain(asset['name'])}  {clock(asset['duration'])}, {picture}, {_sound_words(asset)}", style="bold")
    show_line()
    _show_turns(doc)
    _show_people(doc)
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in spent.seconds.items())
    speed = f", {asset['duration'] / spent.total:.1f} times real time" if spent.total > 0 else ""
    show_line(f"Took {spent.total:.1f} s{speed}: {times}")
    show_line("Models: " + ", ".join(f"{model['name']} ({role})" for role, model in doc["models"].items()))


def _sound_words(asset: Document) -> str:
    for track in asset["audio_tracks"]:
        if track["index"] == asset["audio_track"]:
            several = f" of {len(asset['audio_tracks'])} audio tracks" if len(asset["audio_tracks"]) > 1 else ""
            return f"sound {track['codec']} {track['layout']}" + (f", stream {track['index']}{several}" if several else "")
    return "no sound"


def _show_turns(doc: Document) -> None:
    if not doc["turns"]:
        heard = sum(stretch["end"] - stretch["start"] for stretch in doc["speech"])
        show_line("Nobody speaks." if heard == 0 else "No turn was found.")
        show_line()
        return
    show_table(
        ("from", "to", "who", "seconds", "confidence"),
        [
            (
                clock(turn["start"]),
                clock(turn["end"]),
                (turn["people_id"] or f"voice {turn['voice_id']}") + ("" if turn["on_screen"] else " (off screen)"),
                f"{turn['end'] - turn['start']:.1f}",
                f"{turn['confidence']:.2f}",
            )
            for turn in doc["turns"]
        ],
        right=("from", "to", "seconds", "confidence"),
    )
    show_line()


def _show_people(doc: Document) -> None:
    if not doc["people"]:
        show_line("No faces.")
        show_line()
        return
    talk = sum(person["talk_time"] for person in doc["people"])
    stills = {track["people_id"] for track in doc["tracks"] if track["still"]} - {track["people_id"] for track in doc["tracks"] if not track["still"]}
    show_table(
        ("who", "spoke", "share", "on screen", ""),
        [
            (
                person["id"],
                clock(person["talk_time"]),
                share(person["talk_time"], talk),
                clock(person["screen_time"]),
                "still picture" * (person["id"] in stills),
            )
            for person in sorted(doc["people"], key=lambda person: (-person["talk_time"], -person["screen_time"]))
        ],
        right=("spoke", "share", "on screen"),
    )
    show_line()
