"""`make docs`: docs/commands.md and docs/settings.md, generated from the code; a test demands that they are what this gives."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic.fields import FieldInfo

from asd_core.identity.assign import AssignOptions
from asd_core.identity.cluster import ClusterOptions
from asd_core.look import LookOptions
from asd_core.speech.listen import ListenOptions
from asd_core.speech.score import ScoreOptions
from asd_core.stitch import StitchOptions
from asd_core.turns.decide import TurnOptions
from infra.settings import PREFIX, Section, Settings
from rollcall.cli.door import app

FOLDER = Path(__file__).parent
OPTIONS: Mapping[str, type[Any]] = {  # the sections that mirror a class of the core, which says what each field means
    "look": LookOptions,
    "stitch": StitchOptions,
    "listen": ListenOptions,
    "score": ScoreOptions,
    "decide": TurnOptions,
    "group": ClusterOptions,
    "identify": AssignOptions,
}


def commands() -> str:
    """Return the page of all commands."""
    lines = [
        "# Commands",
        "",
        "Generated from the code by `make docs`. Exit codes: 0 done, 1 the input or request cannot be served, 2 usage, 3 some assets failed.",
    ]
    for name, command in sorted(_below(typer.main.get_command(app)).items()):
        for below, inner in sorted(_below(command).items()) or [("", command)]:
            lines += _command(f"{name} {below}".strip(), inner)
    return "\n".join(lines) + "\n"


def _below(command: Any) -> dict[str, Any]:
    return dict(getattr(command, "commands", {}))


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["rollcall", name, *((a.metavar or a.name or "").upper() for a in arguments)])
    yield from ("", f"## {name}", "")
    told, _, example = (command.help or "").partition("Example:")
    yield from (told.strip(), "", "```", f"{usage}{' [options]' if len(arguments) < len(command.params) else ''}")
    if example:
        yield f"{example.strip()}    # an example"
    yield "```"
    rows = [(_called(p), getattr(p, "help", None) or "") for p in command.params]
    if rows:
        yield from ("", "| | |", "|---|---|", *(f"| `{called}` | {_cell(words)} |" for called, words in rows))


def _called(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return (parameter.metavar or parameter.name or "").upper()
    metavar = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or 'VALUE'}"
    return ", ".join(parameter.opts) + metavar


def settings() -> str:
    """Return the page of all settings."""
    lines = [
        "# Settings", "",
        "Generated from the code by `make docs`. In order of precedence: what a command is told, the environment, `rollcall.toml` in the home",
        f"folder, the default. A setting `look.stride` is `{PREFIX}LOOK__STRIDE` in the environment and `stride` under `[look]` in the file; unknown",
        "keys are errors. Where a default depends on a model, its manifest says it.",
    ]  # fmt: skip
    lines += _table("", "", Settings.model_fields, {}, {})
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            options = OPTIONS.get(name)
            meanings = field_meanings(options) if options else {}
            defaults = {f.name: f.default for f in dataclasses.fields(options)} if options else {}
            title = ((options or section).__doc__ or "").partition("\n")[0]
            lines += _table(f"{name}.", title, section.model_fields, meanings, defaults)
    return "\n".join(lines) + "\n"


def _table(above: str, title: str, fields: Mapping[str, FieldInfo], meanings: Mapping[str, str], defaults: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", *((f"## {above.rstrip('.')}", "", title, "") if above else ()), "| setting | default | what it is |", "|---|---|---|")
    for name, field in fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            continue
        default = defaults.get(name, field.default if field.default_factory is None else None)
        meaning = field.description or meanings.get(name) or ""
        choices = ", ".join(each for each in get_args(field.annotation) if isinstance(each, str))
        yield f"| `{above}{name}` | {_value(default)} | {_cell(meaning)}{f' ({choices})' if choices else ''} |"


def field_meanings(options: type[Any]) -> dict[str, str]:
    """Return field -> meaning from the docstring of an options class: its lines `name: meaning`, with what is indented below them."""
    text = "\n".join(line.removeprefix("    ") for line in (options.__doc__ or "").splitlines())
    found = re.findall(r"^ *(\w+): (.+(?:\n {4,}(?!\w+: ).+)*)", text, flags=re.MULTILINE)
    known = {field.name for field in dataclasses.fields(options)}
    return {name: " ".join(words.split()) for name, words in found if name in known}


def _value(default: object) -> str:
    if default is None or default == ():
        return ""
    return f"`{', '.join(map(str, default)) if isinstance(default, tuple) else default}`"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


PAGES = {"commands.md": commands, "settings.md": settings}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
