"""`rollcall models list|verify`: which networks serve, on which terms, and whether their files are whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollcall.cli.show import as_json_list, complain, show_line, show_table

if TYPE_CHECKING:
    from asd_core.models.registry import Found

models = typer.Typer(help="The networks that serve the roles.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add `models`."""
    app.add_typer(models, name="models")


@models.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """List every known model: role, name, licence, where it was found, and which one is in use.

    Example:  rollcall models list
    """
    rows = model_rows()
    if as_json:
        as_json_list(rows)
        return
    show_table(
        ("role", "model", "in use", "commercial use", "licence", "where"),
        [
            (
                row["role"],
                row["name"],
                "yes" if row["in_use"] else "",
                "yes" if row["commercial"] else "no",
                row["licence"],
                row["path"] or row["reason"],
            )
            for row in rows
        ],
    )


@models.command("verify")
def verify_models() -> None:
    """Check every model file against its manifest, and open those in use. Exit 1 where something is wrong.

    Example:  rollcall models verify
    """
    from asd_core.errors import ModelError
    from asd_core.models.session import open_session

    wrong = 0
    for row, found in zip(model_rows(), known_models(), strict=True):
        if found.model is None:
            damaged = "is not there" not in found.reason and "forbids" not in found.reason
            wrong += damaged
            show_line(f"{'BAD ' if damaged else '-   '} {found.manifest.name}: {found.reason}")
            continue
        try:
            for path in found.model.paths.values():
                open_session(path)
        except ModelError as error:
            wrong += 1
            show_line(f"BAD  {found.manifest.name}: {error}")
            continue
        show_line(f"ok   {found.manifest.name}  {found.model.sha256[:12]}{'  (in use)' if row['in_use'] else ''}")
    if wrong:
        complain(f"{wrong} model{'s are' if wrong > 1 else ' is'} not as described; fetch the files again")
        raise typer.Exit(1)


def known_models() -> list[Found]:
    """Return every known model with its state, in the folders of the settings."""
    from asd_core.models.registry import available
    from infra.settings import load_settings

    return available(load_settings().model_folders())


def model_rows() -> list[dict[str, Any]]:
    """Return a flat row a known model."""
    from asd_core.errors import ModelError
    from asd_core.models.registry import DEFAULTS, find
    from infra.settings import load_settings

    settings = load_settings()
    folders = settings.model_folders()
    used = set()
    for role in DEFAULTS:
        try:
            used.add(find(role, folders, getattr(settings.models, role, None)).name)
        except ModelError:
            continue  # listed below with its reason
    return [
        {
            "role": found.manifest.role,
            "name": found.manifest.name,
            "in_use": found.manifest.name in used,
            "licence": found.manifest.licence,
            "commercial": found.manifest.commercial,
            "sha256": found.model.sha256 if found.model else None,
            "path": str(next(iter(found.model.paths.values())).parent) if found.model else None,
            "reason": found.reason or None,
        }
        for found in known_models()
    ]
