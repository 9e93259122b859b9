"""What users say about persons: name, merge, and undo of either. Each is a fact, kept for ever and replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rollcall.cli.opening import open_adapters, user_name
from rollcall.cli.show import note, plain, show_line
from rollcall.shown import clock, short

if TYPE_CHECKING:
    from asd_core.records import Fact
    from infra.catalog.connection import Connection
    from infra.catalog.rows import PersonRow

LONGEST_NAME = 200
Person = Annotated[str, typer.Argument(metavar="PERSON", help="An id, the beginning of one, or a name.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands that state facts."""
    app.command("name")(name)
    app.command("merge")(merge)
    app.command("undo")(undo)


def name(
    who: Person,
    called: Annotated[str | None, typer.Argument(metavar="NAME", help="What the person is called.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the name away instead.")] = False,
) -> None:
    """Give a person a name: it holds in every asset, those of the past and those to come.

    Example:  rollcall name 3f9a1c02 "Grace Hopper"
    """
    if (called is None) != remove:
        raise typer.BadParameter("give a name, or --remove")
    wanted = None if called is None else _checked_name(called)
    from infra.catalog import lookups
    from tasks.correct import state_fact
    from tasks.plan import make_plan

    with open_adapters() as adapters:
        plan = make_plan(adapters.settings)
        with adapters.catalog.transaction(serial=True) as connection:
            person = lookups.find_person(connection, who)
            alike = [other for other in lookups.list_persons(connection, named=True) if other.name == wanted and other.id != person.id]
            state_fact(connection, plan, "rename", anchors=(person.anchor,), value=wanted, who=user_name())
            now = lookups.find_person(connection, person.id)
    show_line(f"{short(now.id)} is {f'now {plain(now.name)}' if now.name else 'without a name again'}: {_extent(now)}")
    if alike:
        note(f"Another person bears that name too: {short(alike[0].id)}. If they are one: rollcall merge {short(now.id)} {short(alike[0].id)}")


def merge(who: Person, others: Annotated[list[str], typer.Argument(metavar="OTHER…", help="Persons who are the same one.")]) -> None:
    """Say that several persons are one and the same. The first one's name stays.

    Example:  rollcall merge "Grace Hopper" 77ab12cd
    """
    from asd_core.errors import RequestError
    from infra.catalog import lookups
    from tasks.correct import state_fact
    from tasks.plan import make_plan

    with open_adapters() as adapters:
        plan = make_plan(adapters.settings)
        with adapters.catalog.transaction(serial=True) as connection:
            persons = [lookups.find_person(connection, each) for each in (who, *others)]
            if len({person.id for person in persons}) < len(persons):
                raise RequestError("two of these are one person already: nothing to merge")
            state_fact(connection, plan, "merge", anchors=tuple(person.anchor for person in persons), who=user_name())
            now = lookups.find_person(connection, persons[0].id)
    for person in persons:
        show_line(f"{short(person.id)} {plain(person.name or '')}: {_extent(person)}")
    show_line(f"are now {short(now.id)} {plain(now.name or 'without a name')}: {_extent(now)}")
    note("rollcall undo takes it back")


def undo(
    fact: Annotated[str | None, typer.Argument(metavar="FACT", help="The beginning of a fact's id; else the latest that holds.")] = None,
) -> None:
    """Take back what was said last, or a given fact. An undo can be undone too.

    Example:  rollcall undo
    """
    from tasks.correct import undo_fact
    from tasks.plan import make_plan

    with open_adapters() as adapters:
        plan = make_plan(adapters.settings)
        with adapters.catalog.transaction(serial=True) as connection:
            undone = undo_fact(connection, plan, fact, who=user_name())
            words = _fact_words(connection, undone)
    show_line(f"Undone: {words}")


def _checked_name(called: str) -> str:
    wanted = plain(called)
    if not wanted:
        raise typer.BadParameter("the name is empty; --remove takes a name away")
    if len(wanted) > LONGEST_NAME:
        raise typer.BadParameter(f"the name is longer than {LONGEST_NAME} characters")
    return wanted


def _extent(person: PersonRow) -> str:
    assets = f"{person.assets} asset{'' if person.assets == 1 else 's'}"
    return f"spoke {clock(person.talk_time)}, on screen {clock(person.screen_time)}, in {assets}"


def _fact_words(connection: Connection, fact: Fact) -> str:
    from asd_core.errors import NotFound
    from infra.catalog import lookups

    places = []
    for anchor in fact.anchors:
        try:
            places.append(f"{lookups.find_asset(connection, anchor.asset).name} at {clock(anchor.time)}")
        except NotFound:
            places.append("an asset that is gone")
    what = {"rename": f"the name {plain(fact.value or '')!r} of the face in", "merge": "that these are one person:", "undo": "an undo"}
    return f"{fact.id[:SHORT_FACT]}, {what.get(fact.kind, fact.kind)} {' and '.join(places)}".strip()


SHORT_FACT = 6  # characters of a fact's id that are shown
