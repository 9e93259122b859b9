"""`rollcall models list|verify|pull`: which networks serve, on which terms, whether their files are whole, and how others come in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollcall.cli.show import as_json_list, complain, note, show_line, show_table

if TYPE_CHECKING:
    from asd_core.models.manifest import Manifest
    from asd_core.models.registry import Found, Model
    from infra.settings import Settings

models = typer.Typer(help="The networks that serve the roles.", no_args_is_help=True)


def add_commands(app: typer.Typer) -> None:
    """Add `models`."""
    app.add_typer(models, name="models")


@models.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """List every known model: role, name, terms, what it was trained on, where it was found, and which one is in use.

    Example:  rollcall models list
    """
    rows = model_rows()
    if as_json:
        as_json_list(rows)
        return
    show_table(
        ("role", "model", "in use", "commercial use", "licence", "trained on", "where"),
        [
            (
                row["role"] or "damaged",
                row["name"],
                "yes" if row["in_use"] else "",
                {True: "yes", False: "no", None: ""}[row["commercial"]],
                row["licence"] or "",
                row["trained_on"] or "",
                row["path"] or row["reason"],
            )
            for row in rows
        ],
    )


@models.command("verify")
def verify_models() -> None:
    """Check every model file against its manifest, and open those that are there. Exit 1 where something is wrong.

    Example:  rollcall models verify
    """
    from asd_core.errors import ModelError
    from asd_core.models.session import open_session

    wrong = 0
    used = models_in_use(_settings())
    for found in known_models():
        if found.model is None:
            wrong += found.damaged
            show_line(f"{'BAD ' if found.damaged else '-   '} {found.name}: {found.reason}")
            continue
        try:
            for path in found.model.paths.values():
                open_session(path)
        except ModelError as error:
            wrong += 1
            show_line(f"BAD  {found.name}: {error}")
            continue
        show_line(f"ok   {found.name}  {found.model.sha256[:12]}{'  (in use)' if found.name in used else ''}")
    if wrong:
        complain(f"{wrong} model{'s are' if wrong > 1 else ' is'} not as described; fetch the files again, mend or remove the manifest")
        raise typer.Exit(1)


@models.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="A model of `rollcall models list`, or one whose manifest lies in the folder.")],
    source: Annotated[str, typer.Argument(metavar="FROM", help="The folder that holds its files, or the https address below which they lie.")],
) -> None:
    """Copy the files of a model into the home folder, where every command finds them; each is compared with its manifest first.

    Rollcall hosts no models of others: `models list --json` says where each comes from, and on which terms.

    Example:  rollcall models pull yunet_n_dynamic ~/Downloads
    """
    from infra.model_files import place_text, pull_model
    from infra.settings import ensure_home

    settings = _settings()
    manifest, stated = _manifest_of(name, source, settings)
    target = ensure_home(settings.home) / "models"
    files = pull_model(manifest, source, target)
    if stated is not None:
        place_text(target / f"{name}.toml", stated)
    show_line(f"{name}: {len(files)} file{'' if len(files) == 1 else 's'} in {target}")
    show_line(f"licence: {manifest.licence}{'' if manifest.commercial else '; NOT for commercial use'}")
    if name in models_in_use(settings):
        show_line(f"it serves as {manifest.role} from now on")
    elif settings.models.commercial_only and not manifest.commercial:
        note("it is passed over while models.commercial_only is set")
    else:
        note(f'to use it as {manifest.role}: {manifest.role} = "{name}" under [models] in {settings.home / "rollcall.toml"}')


def _manifest_of(name: str, source: str, settings: Settings) -> tuple[Manifest, str | None]:
    """Return the manifest of a model, and its text where it lies in the source and has to come along."""
    from asd_core.errors import ModelMismatch, NotFound
    from asd_core.models.manifest import read_manifest
    from asd_core.models.registry import known_manifests
    from infra.model_files import source_folder

    known = known_manifests(settings.model_folders()).manifests
    if name in known:
        return known[name], None
    beside = source_folder(source) / f"{name}.toml"
    if Path(name).name != name or not beside.is_file():  # the name becomes a file's name in the home folder
        raise NotFound(f"no model is called {name}; `rollcall models list` shows those that are known")
    manifest = read_manifest(beside)
    if manifest.name != name:
        raise ModelMismatch(f"{beside} describes {manifest.name}, not {name}")
    return manifest, beside.read_text(encoding="utf-8")


def known_models() -> list[Found]:
    """Return every known model with its state, in the folders of the settings."""
    from asd_core.models.registry import available

    return available(_settings().model_folders())


def models_in_use(settings: Settings) -> dict[str, Model]:
    """Return by name the models that serve the roles; a role that none serves is left out."""
    from asd_core.errors import ModelError
    from asd_core.models.registry import find
    from tasks.plan import ROLES

    folders = settings.model_folders()
    used = {}
    for role in ROLES:
        try:
            model = find(role, folders, getattr(settings.models, role))
        except ModelError:
            continue  # the list gives its reason
        used[model.name] = model
    return used


def model_rows() -> list[dict[str, Any]]:
    """Return a flat row a known model; of a manifest that cannot be read, name and reason are all that is known."""
    used = models_in_use(_settings())
    told = ("licence", "commercial", "trained_on", "note", "source")
    return [
        {"role": getattr(found.manifest, "role", None), "name": found.name, "in_use": found.model is not None and found.name in used}
        | {key: getattr(found.manifest, key, None) for key in told}
        | {
            "sha256": found.model.sha256 if found.model else None,
            "path": str(next(iter(found.model.paths.values())).parent) if found.model else None,
            "reason": found.reason or None,
        }
        for found in known_models()
    ]


def _settings() -> Settings:
    from infra.settings import load_settings

    return load_settings()
