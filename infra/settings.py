"""Settings: the only reader of the environment and of `rollcall.toml`.

Order of precedence: what a command gives, the environment (`ROLLCALL_WORKERS=2`, nested with two underscores:
`ROLLCALL_LOOK__STRIDE=3`), `rollcall.toml` in the home folder, defaults. Unknown keys are errors, so that a misspelt setting never
passes for a default. `ROLLCALL_MODELS` is a list of folders, separated like `PATH`.

The sections named after stages mirror the option dataclasses of the core, field by field; None leaves a field to the core's default or
the model's manifest. The tasks build the dataclasses once (tasks/plan.py); a contract test keeps the names the same.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError, TomlConfigSettingsSource

from asd_core.errors import RequestError
from asd_core.models.manifest import WEIGHTS
from asd_core.models.registry import ModelFolder

PREFIX = "ROLLCALL_"
CHECKOUT = Path(__file__).resolve().parent.parent
MARK_SECONDS = 10  # a span is a run of marks (asd_core.timeline)


class Section(BaseModel):
    """A group of settings; unknown keys are errors, and so are numbers without end."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class ModelSettings(Section):
    """Which networks serve, and where they are looked for."""

    folders: tuple[Path, ...] = Field((), description="folders of the user's own, in front of all others; `ROLLCALL_MODELS` is the same list")
    detector: str | None = Field(None, description="name of the model; unset: the first of the registry's defaults that is there")
    speaking: str | None = Field(None, description="likewise")
    embedder: str | None = Field(None, description="likewise")
    commercial_only: bool = Field(False, description="pass over models that are not for commercial use")
    provider: Literal["cpu", "cuda", "tensorrt"] = Field("cpu", description="what computes; never another than this")


class LimitSettings(Section):
    """What the decoding child may use before it is ended."""

    seconds_per_media_second: float = Field(10.0, gt=0, description="wall time for a second of media")
    seconds_at_least: float = Field(120.0, gt=0, description="wall time that even the shortest stretch has")
    memory_gigabytes: float = Field(4.0, gt=0.25, description="resident memory of one child")


class S3Settings(Section):
    """The S3 service that media, and with `objects_url` artifacts, lie in."""

    endpoint: str | None = Field(None, pattern=r"^[^/\s]+$", description="host:port of the service")
    access_key: str | None = Field(None, description="unset: without credentials, for public buckets")
    secret_key: SecretStr | None = Field(None, description="that belongs to it")
    region: str = Field("us-east-1", min_length=1, description="that signatures name")
    secure: bool = Field(True, description="https")

    @model_validator(mode="after")
    def _both_keys(self) -> S3Settings:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        return self


class LookSettings(Section):
    """The options of `look` (asd_core.look.LookOptions)."""

    stride: int | None = Field(None, ge=1, le=250)  # grid instants between scheduled detections; 8 is 0.32 s
    finest: int | None = Field(None, ge=1)  # intervals of so many instants are not halved again
    steady_iou: float | None = Field(None, ge=0, le=1)
    steady_likeness: float | None = Field(None, ge=-1, le=1)  # correlation of a face at both ends of an interval
    top_faces: int | None = Field(None, ge=1)  # at most so many faces a frame
    top_by: Literal["area", "centre"] | None = None


class StitchSettings(Section):
    """The options of `stitch` (asd_core.stitch.StitchOptions)."""

    shortest_instants: int | None = Field(None, ge=1)  # tracks of fewer grid instants are dropped
    fewest_observed: int | None = Field(None, ge=1)
    still_motion: float | None = Field(None, ge=0)  # grey values an instant
    black_luma: float | None = Field(None, ge=0, le=255)
    black_flatness: float | None = Field(None, ge=0)
    black_seconds: float | None = Field(None, ge=0)


class ListenSettings(Section):
    """The options of `listen` (asd_core.speech.listen.ListenOptions)."""

    silence_level: float | None = Field(None, le=0)  # dBFS
    shortest_silence: float | None = Field(None, ge=0)  # seconds
    shortest_sound: float | None = Field(None, ge=0)  # seconds


class ScoreSettings(Section):
    """The options of `score` (asd_core.speech.score.ScoreOptions)."""

    windows: tuple[Annotated[float, Field(ge=0.2, le=60)], ...] | None = Field(None, min_length=1)  # seconds
    overlap: float | None = Field(None, ge=0, lt=1)
    taper: float | None = Field(None, ge=0)  # seconds


class DecideSettings(Section):
    """The options of `decide` (asd_core.turns.decide.TurnOptions); weights and prices in log-odds, lengths in seconds."""

    lips: float | None = Field(None, ge=0)
    voice: float | None = Field(None, ge=0)
    rival: float | None = None
    overlap: float | None = None
    price: float | None = Field(None, ge=0)
    certain: float | None = Field(None, gt=0)
    voice_floor: float | None = Field(None, ge=0, le=1)
    longest_pause: float | None = Field(None, ge=0)
    shortest_turn: float | None = Field(None, ge=0)
    sure: float | None = Field(None, ge=0, le=1)
    reach: float | None = Field(None, ge=0)
    shortest_off_screen: float | None = Field(None, ge=0)
    voice_gap: float | None = Field(None, ge=0)


class GroupSettings(Section):
    """The options of `group` (asd_core.identity.cluster.ClusterOptions); cosines belong to an embedder and come from its manifest."""

    same_person_cosine: float | None = Field(None, ge=-1, le=1)
    together_cosine: float | None = Field(None, ge=-1, le=1)
    margin: float | None = Field(None, ge=0)
    best_share: float | None = Field(None, ge=0, le=1)
    continued_bonus: float | None = Field(None, ge=0)
    continued_seconds: float | None = Field(None, ge=0)
    clear_size: float | None = Field(None, ge=0)  # pixels
    clear_quality: float | None = Field(None, ge=0)
    most_prototypes: int | None = Field(None, ge=1)


class IdentifySettings(Section):
    """The options of `identify` (asd_core.identity.assign.AssignOptions); cosines belong to an embedder and come from its manifest."""

    library_cosine: float | None = Field(None, ge=-1, le=1)
    poor_cosine: float | None = Field(None, ge=-1, le=1)
    margin: float | None = Field(None, ge=0)
    best_share: float | None = Field(None, ge=0, le=1)
    most_prototypes: int | None = Field(None, ge=1)


class Place(Section):
    """A place that is watched."""

    root: str = Field(description="a folder, or `s3://bucket/prefix`")
    collection: str = Field("library", min_length=1, description="what lies there is kept under this name")

    @field_validator("root")
    @classmethod
    def _whole(cls, root: str) -> str:
        if not root.startswith(("/", "s3://")):
            raise ValueError("must be a whole path, or begin with s3://")
        return root.rstrip("/") or "/"


class WatchSettings(Section):
    """What is looked at on a schedule, and what may tell of new files."""

    places: tuple[Place, ...] = Field(
        (), description='folders and buckets with their collections: `[{root = "s3://bucket/news", collection = "news"}]`'
    )
    cron: str = Field("*/5 * * * *", description="when they are looked at: minute, hour, day, month, weekday, in UTC")
    events_token: SecretStr | None = Field(None, description="who tells of new objects at `/events/s3` must bear it; unset: nobody may")

    @field_validator("cron")
    @classmethod
    def _whole_expression(cls, expression: str) -> str:
        try:
            if len(expression.split()) != 5:
                raise CronSimError
            CronSim(expression, datetime.datetime.now(datetime.UTC))
        except CronSimError:
            raise ValueError("must be a cron expression of five fields, such as */5 * * * *") from None
        return expression


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default_home() -> Path:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/rollcall")
    return Path.home() / ".rollcall"


def home_folder() -> Path:
    """Return the home folder that the environment names, else the default; nothing is created."""
    named = os.environ.get(f"{PREFIX}HOME")
    return Path(named).expanduser().absolute() if named else _default_home()


def child_environment() -> dict[str, str]:
    """Return the environment for child processes: ours without settings, credentials and Python's own switches."""
    words = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "DATABASE_URL")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((PREFIX, "PREFECT_", "PYTHON")) and not any(word in name.upper() for word in words)
    }


def worker_variables(settings: Settings, limit: int) -> dict[str, str]:
    """Return the variables by which each of so many processes at a time has its share of the machine, and the same home folder."""
    return {
        f"{PREFIX}HOME": str(settings.home),
        f"{PREFIX}WORKERS": str(max(1, settings.workers // limit)),
        f"{PREFIX}THREADS": str(settings.threads),
    }


class _Environment(EnvSettingsSource):
    """The environment; `ROLLCALL_MODELS` is a list of folders and does not hide `ROLLCALL_MODELS__DETECTOR`."""

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        if field_name != "models" or not isinstance(value, str):
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        folders = [part for part in value.split(os.pathsep) if part]
        nested = self.explode_env_vars(field_name, field, self.env_vars)
        return {"folders": folders, **nested}


class Settings(BaseSettings):
    """Everything that a user may set; read once a process by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    home: Path = Field(default_factory=home_folder, description="where everything lives; as root `/var/lib/rollcall`, else `~/.rollcall`")
    database_url: SecretStr | None = Field(None, description="of a PostgreSQL; unset: one inside the home folder")
    prefect_api_url: str | None = Field(None, description="of a Prefect server; unset: a private one on loopback")
    prefect_api_key: SecretStr | None = Field(None, description="its key")
    prefect_database_url: SecretStr | None = Field(None, description="of a PostgreSQL for the private Prefect server alone; unset: SQLite")
    workers: int = Field(default_factory=_cores, ge=1, le=1024, description="assets at a time; unset: as many as there are cores")
    threads: int = Field(0, ge=0, le=1024, description="of one network or decoder; 0: the cores shared among the workers")
    span_seconds: int = Field(60, ge=MARK_SECONDS, description="length of one `look` task, a multiple of 10; changes no result")
    split_seconds: int | None = Field(None, ge=MARK_SECONDS, description="what is longer is looked at by several workers; unset: never")
    span_runner: str | None = Field(
        None, description="`dask://host:port` or `ray://host:port`: a cluster that looks at long assets for the workers; unset: they do it"
    )
    pages_url: str | None = Field(
        None, description="where the pages are for those who look at Prefect's; reports of runs then show who is in an asset. Unset: they do not"
    )
    cache_gigabytes: float = Field(50.0, gt=0, description="artifacts and proxies that can be made again")
    media_cache_gigabytes: float = Field(50.0, gt=0, description="media fetched from buckets, the least recently used of which go first")
    objects_url: str | None = Field(
        None, pattern=r"^s3://[^/\s]+(/.*)?$", description="`s3://bucket/prefix` for artifacts and snapshots of the index; unset: in the home folder"
    )
    s3: S3Settings = S3Settings()
    models: ModelSettings = ModelSettings()
    look: LookSettings = LookSettings()
    stitch: StitchSettings = StitchSettings()
    listen: ListenSettings = ListenSettings()
    score: ScoreSettings = ScoreSettings()
    decide: DecideSettings = DecideSettings()
    group: GroupSettings = GroupSettings()
    identify: IdentifySettings = IdentifySettings()
    limits: LimitSettings = LimitSettings()
    watch: WatchSettings = WatchSettings()

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("span_seconds")
    @classmethod
    def _whole_marks(cls, seconds: int) -> int:
        if seconds % MARK_SECONDS:
            raise ValueError(f"must be a multiple of {MARK_SECONDS} seconds")
        return seconds

    @field_validator("pages_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s()<>\"?#@]+", url):
            raise ValueError("must look like https://host/path, without spaces, brackets, ?, # or @")
        return url.rstrip("/") if url is not None else None

    @field_validator("span_runner")
    @classmethod
    def _a_cluster(cls, runner: str | None) -> str | None:
        if runner is not None and not re.fullmatch(r"(dask|ray)://[^/@\s]+:\d+", runner):
            raise ValueError("must be dask://host:port or ray://host:port")
        return runner

    @model_validator(mode="before")
    @classmethod
    def _share_cores(cls, values: dict[str, Any]) -> dict[str, Any]:
        if str(values.get("threads") or 0) == "0":
            workers = str(values.get("workers") or "")
            values["threads"] = max(1, _cores() // int(workers)) if workers.isdecimal() and int(workers) else 1
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Commands, environment, `rollcall.toml`: no dotenv files, no secrets folder."""
        given = init_settings()
        home = Path(given["home"]).expanduser() if given.get("home") else home_folder()
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, toml_file=home / "rollcall.toml")

    def model_folders(self) -> tuple[ModelFolder, ...]:
        """Return where models are looked for, in order; folders that do not exist are left out.

        The user's folders, the home folder's, the packaged weights, and beside a checkout `../shared/models`.
        """
        candidates = [folder.expanduser().absolute() for folder in self.models.folders]
        candidates += [self.home / "models", WEIGHTS]
        if (CHECKOUT / "pyproject.toml").exists():
            candidates.append(CHECKOUT.parent / "shared" / "models")
        return tuple(ModelFolder(folder, any_licence=not self.models.commercial_only) for folder in candidates if folder.is_dir())

    def child_seconds(self, media_seconds: float) -> float:
        """Return the wall time that a child may spend on a stretch of media."""
        return max(self.limits.seconds_at_least, media_seconds * self.limits.seconds_per_media_second)


def _unknown_variables() -> Iterator[str]:
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX).split("__")[0].upper() not in known:
            yield variable


def _one_line(error: ValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        text = "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        parts.append(f"{name}: {text}")
    return "; ".join(parts)


def load_settings(**given: Any) -> Settings:
    """Read the settings; keyword arguments (what a command was told) come before everything else, None means not told.

    Raises:
        RequestError: a setting is unknown or has a value that cannot be; one line names it.
    """
    for variable in _unknown_variables():
        raise RequestError(f"unknown setting {variable} in the environment")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise RequestError(f"settings: {_one_line(error)}") from error
    except (SettingsError, ValueError, OSError) as error:
        raise RequestError(f"settings: {error}") from error


def ensure_home(home: Path) -> Path:
    """Create the home folder, readable by its owner only, with the folders that the parts expect; return it.

    Raises:
        RequestError: the folder cannot be made or written.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        for name in ("run", "log", "objects", "tmp"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot make the home folder {home}: {error.strerror}; set ROLLCALL_HOME to a folder that can be written") from error
    return home
