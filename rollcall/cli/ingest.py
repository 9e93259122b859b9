"""`rollcall ingest` and `demo`: files become part of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_library
from rollcall.cli.show import complain, err, note, person_words, plain, reason_words, show_json, show_line, show_table
from rollcall.shown import clock

if TYPE_CHECKING:
    from flows.summary import Summary
    from tasks.stage import Event

SOME_FAILED = 3
MOST_REASONS = 20  # failures that the summary lists
Workers = Annotated[int | None, typer.Option("--workers", min=1, metavar="N", help="Assets at a time; else one a core.")]
Direct = Annotated[bool, typer.Option("--direct", help="Run the same stages in this process, without Prefect.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands that fill the library."""
    app.command("ingest")(ingest)
    app.command("demo")(demo)


def ingest(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="Folders and s3://bucket/prefix, which are walked, and files.", show_default=False)
    ],
    collection: Annotated[str, typer.Option("--collection", metavar="C", help="What to keep them under.")] = "library",
    workers: Workers = None,
    direct: Direct = False,
    span_seconds: Annotated[int | None, typer.Option("--span-seconds", min=0, metavar="S", help="Of one piece of work; 0 for whole assets.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Leave the work to the service's workers, and wait for them.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Then list who is in the library, and say where to look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Take folders, buckets and files into the library. Again: only what is new or was not finished. Exit 3 where some could not be served.

    Example:  rollcall ingest ~/programmes --collection news
    """
    span = _whole_marks(span_seconds)
    from flows.process_library import process_library

    with shown_events() as hear:
        if submit:
            summary = _submitted(paths, collection, hear)
        else:
            summary = process_library(paths, collection=collection, workers=workers, direct=direct, span_seconds=span, on_event=hear)
    show_summary(summary, as_json=as_json)
    if show and not as_json:
        _show_where_to_look()
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _submitted(paths: Sequence[str], collection: str, hear: Callable[[Event], None]) -> Summary:
    from flows.service import open_api, pool_of
    from flows.watch import ingest_by_service
    from infra.places import as_uri
    from infra.settings import load_settings

    settings = load_settings()
    if not open_api(settings).online_workers(pool_of(settings)):
        note(f"No worker of the pool {pool_of(settings)} is there yet: start one with `rollcall worker`")
    return ingest_by_service([as_uri(path) for path in paths], collection=collection, settings=settings, on_event=hear)


def demo(
    folder: Annotated[Path | None, typer.Option("--folder", metavar="F", help="Where the programmes go; else into the home folder.")] = None,
    workers: Workers = None,
    direct: Direct = False,
) -> None:
    """Make short programmes whose truth is known, take them in, and show how well the library tells who spoke when.

    Example:  rollcall demo
    """
    from asd_core.demo.programmes import make_programmes
    from flows.process_library import process_library
    from infra.settings import ensure_home, load_settings
    from rollcall.cli.progress import shown_progress
    from tasks.plan import make_plan

    settings = load_settings()
    make_plan(settings)  # a missing network is told before the programmes are made
    target = folder or ensure_home(settings.home) / "demo"
    with shown_progress() as report:
        programmes = make_programmes(target, on_progress=report)
    with shown_events() as hear:
        summary = process_library([programme.path for programme in programmes], collection="demo", workers=workers, direct=direct, on_event=hear)
    show_summary(summary, as_json=False)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)
    passed = _show_marks([(programme.path.name, programme.truth) for programme in programmes])
    _show_where_to_look()
    if not passed:
        raise typer.Exit(1)


def _whole_marks(seconds: int | None) -> int | None:
    if seconds is not None and seconds % 10:
        raise typer.BadParameter("--span-seconds must be a multiple of 10, or 0")
    return seconds


# ---- while it runs -----------------------------------------------------------------------------------------------------------


@contextmanager
def shown_events() -> Iterator[Callable[[Event], None]]:
    """Give a function that shows events: bars on a terminal, a line an asset elsewhere."""
    if not err.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[busy]}"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield _Bars(progress)


class _Lines:
    """A line when an asset has ended; what was skipped is only counted."""

    def __init__(self) -> None:
        self._total, self._ended = 0, 0

    def __call__(self, event: Event) -> None:
        if event.kind == "found":
            self._total = round(event.total)
            note(f"{self._total} file{'s' if self._total != 1 else ''} to work on")
        elif event.kind == "asset" and event.outcome != "skipped" and self._total:
            self._ended += 1
            took = f" ({event.seconds:.1f} s)" if event.outcome == "done" else ""
            why = f": {reason_words(event.asset, event.reason)}" if event.reason else ""
            note(f"[{self._ended}/{self._total}] {event.asset}: {event.outcome}{took}{why}")


class _Bars:
    """One bar for the library, and beside it what is being done to which asset."""

    def __init__(self, progress: object) -> None:
        from rich.progress import Progress

        assert isinstance(progress, Progress)
        self._progress = progress
        self._task = progress.add_task("Looking for files", total=None, busy="")
        self._busy: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "found":
            self._progress.update(self._task, description="Assets", total=event.total, completed=0)
        elif event.kind == "begin":
            self._busy[event.asset] = ""
        elif event.kind == "progress":
            self._busy[event.asset] = f"{event.stage} {100 * event.done / event.total:.0f} %" if event.total else event.stage
        elif event.kind == "stage":
            self._busy[event.asset] = event.stage
        elif event.kind == "asset" and event.outcome != "skipped":
            self._busy.pop(event.asset, None)
            self._progress.advance(self._task)
            if event.outcome in {"failed", "quarantined"}:
                self._progress.console.print(f"{plain(event.asset)}: {event.outcome}: {reason_words(event.asset, event.reason)}")
        shown = [f"{plain(asset)[-28:]} {what}" for asset, what in list(self._busy.items())[:3]]
        self._progress.update(self._task, busy=" · ".join(shown))


# ---- afterwards --------------------------------------------------------------------------------------------------------------


def show_summary(summary: Summary, *, as_json: bool) -> None:
    """Say what became of the files: counts, and the reasons of what could not be served."""
    counts = {state: len(summary.of(state)) for state in ("done", "skipped", "failed", "quarantined", "stopped")}
    if as_json:
        show_json({
            **counts,
            "ignored": summary.ignored,
            "seconds": round(summary.seconds, 3),
            "terms": list(summary.terms),
            "assets": [
                {
                    "asset": one.name, "asset_sha256": one.sha256, "state": one.state, "reason": one.reason or None, "retryable": one.retryable,
                    "earlier": one.earlier, "stages_made": one.made, "stages_cached": one.cached, "seconds": round(one.seconds, 3),
                }
                for one in summary.results
            ],
        })  # fmt: skip
        return
    words = [f"{count} {state}" for state, count in counts.items() if count or state in {"done", "skipped", "failed"}]
    made, cached = sum(one.made for one in summary.results), sum(one.cached for one in summary.results)
    stages = f"; {made} stages run, {cached} found in the cache" if made or cached else ""
    others = f"; {summary.ignored} other files passed over" if summary.ignored else ""
    show_line(f"{', '.join(words)} in {summary.seconds:.1f} s{stages}{others}", style="bold")
    troubled = [one for one in summary.results if one.state in {"failed", "quarantined"}]
    for one in troubled[:MOST_REASONS]:
        again = " (tried again by the next ingest)" if one.retryable else ""
        show_line(f"  {plain(one.name)}: {one.state}: {reason_words(one.name, one.reason)}{again}{' (as before)' if one.earlier else ''}")
    if len(troubled) > MOST_REASONS:
        show_line(f"  and {len(troubled) - MOST_REASONS} more: rollcall assets lists them")
    for term in summary.terms:
        note(term)


def _show_where_to_look() -> None:
    from infra.catalog import lookups

    with open_library() as library, library.catalog.reading() as connection:
        persons = lookups.list_persons(connection)
    if persons:
        show_line()
        cells = [(person_words(p.name, p.id), clock(p.talk_time), clock(p.screen_time), p.assets) for p in persons[:MOST_REASONS]]
        show_table(("who", "spoke", "on screen", "assets"), cells, right=("spoke", "on screen", "assets"))
    show_line()
    show_line("Where to look:  rollcall serve  (pages),  rollcall turns ASSET,  rollcall people,  rollcall search --image PHOTO")
    unnamed = next((p.id for p in persons if not p.name), None)
    if unnamed:
        show_line(f'To name somebody:  rollcall name {unnamed[:8]} "…"')


def _show_marks(programmes: Sequence[tuple[str, object]]) -> bool:
    """Show the turns of the demo programmes beside their truth; return whether they are as they should be."""
    from asd_core.demo.scorecard import TOLERANCE, scorecard, verdict
    from asd_core.demo.truth import Truth

    cards = []
    with open_library() as library:
        for name, truth in programmes:
            assert isinstance(truth, Truth)
            doc = library.document(library.asset(name))
            card = scorecard(truth, doc)
            cards.append(card)
            show_line()
            show_line(f"{name}: {card.edges_within} of {card.edges} turn edges within {TOLERANCE:g} s of the truth", style="bold")
            who = {person["id"]: person_words(person["name"], person["person_id"]) or person["id"] for person in doc["people"]}
            found = [
                (turn["start"], turn["end"], who.get(turn["people_id"]) or f"voice {turn['voice_id']}", turn["on_screen"]) for turn in doc["turns"]
            ]
            show_table(
                ("from", "to", "who"),
                [(clock(start), clock(end), name + ("" if seen else " (off screen)")) for start, end, name, seen in found],
                right=("from", "to"),
            )
            for missed in card.missed:
                show_line(f"  missed: {missed}")
            for extra in card.extra_turns:
                show_line(f"  not in the truth: {extra}")
    marks = verdict(cards)
    show_line()
    share = 100 * marks.edge_share
    show_line(
        f"All programmes: {marks.edges_within} of {marks.edges} edges within {TOLERANCE:g} s ({share:.0f} %), {marks.extra_turns} turns too many"
    )
    for person, ids in marks.persons.items():
        show_line(f"  {person}: {', '.join(each[:8] for each in ids) or 'not found'}")
    for stranger in marks.strangers:
        show_line(f"  nobody of the demo: {stranger[:8]}")
    if not marks.passed:
        complain("the demo is not told as it should be (at least 90 % of the edges, and exactly its persons)")
    return marks.passed
