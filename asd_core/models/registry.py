"""Which model serves a role: one table of defaults, and a search through folders that the caller lists."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd_core.errors import ModelMismatch, ModelMissing
from asd_core.models.manifest import PARTS, Manifest, Role, packaged_manifests, read_manifest

# Without a setting, the first of these that some folder holds; folder order never decides between models. Our own come with the package and
# so are always there: they stand last and serve where nothing better was put (docs/decisions/0006).
DEFAULTS: Mapping[Role, tuple[str, ...]] = {
    "detector": ("scrfd_500m_kps", "yunet_n_dynamic", "yunet_s_dynamic", "rollcall_face"),
    "speaking": ("lrasd_ava", "lrasd_talkset", "lightasd_ava", "lightasd_talkset", "rollcall_sync"),
    "embedder": ("edgeface_xs_512", "edgeface_xxs_512", "mobilefacenet_arcface_128", "rollcall_id"),
    "voice": (),
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder to look in. Without `any_licence`, models that are not for commercial use are passed over in it."""

    path: Path
    any_licence: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose files were found and are what its manifest says."""

    manifest: Manifest
    paths: Mapping[str, Path]  # by part
    sha256: str  # of its file; of several files, the digest of their digests by part

    @property
    def name(self) -> str:
        """Return the manifest's name."""
        return self.manifest.name

    @property
    def told(self) -> dict[str, str]:
        """Return what a result says of the model that made it."""
        return {"name": self.name, "sha256": self.sha256, "licence": self.manifest.terms}

    @property
    def key(self) -> str:
        """Return what belongs into a cache key: the files and how they are fed."""
        return hashlib.sha256(f"{self.sha256} {self.manifest.format_digest}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """What the manifests tell: the models by name, and of manifests that cannot be read, by the file's name without `.toml`, what is wrong."""

    manifests: Mapping[str, Manifest]
    damaged: Mapping[str, str]  # one line each, naming the file


@dataclass(frozen=True, slots=True)
class Found:
    """One known model and whether it can be used: `model` is None with a `reason`, or set with an empty one.

    damaged: its files are there and are not what the manifest says; or its manifest cannot be read, and `manifest` is None.
    """

    name: str
    manifest: Manifest | None
    model: Model | None
    reason: str
    damaged: bool = False


def find(role: Role, folders: Sequence[ModelFolder], name: str | None = None) -> Model:
    """Return the model that serves a role.

    Args:
        role: what it is for.
        folders: where to look; of two copies of one model the first folder's is taken.
        name: the model that the user chose; None for the first available of `DEFAULTS`.

    Raises:
        ModelMissing: no folder holds a model for the role on these terms.
        ModelMismatch: a file is not what its manifest says, or the manifest of the model that the user chose cannot be read.
    """
    known = known_manifests(folders)
    manifests = known.manifests
    if name is not None and name in known.damaged:
        raise ModelMismatch(f"the {role} model {name} cannot be used: {known.damaged[name]}")
    if name is not None and (name not in manifests or manifests[name].role != role):
        others = ", ".join(sorted(n for n, manifest in manifests.items() if manifest.role == role))
        raise ModelMissing("; ".join([f"no manifest of a {role} model is called {name!r}; known: {others or 'none'}", *known.damaged.values()]))
    reasons = []
    for wanted in (name,) if name is not None else DEFAULTS[role]:
        model, reason = _locate(manifests[wanted], folders)
        if model is not None:
            return model
        reasons.append(reason)
    where = ", ".join(str(folder.path) for folder in folders) or "no folder at all"
    raise ModelMissing(
        f"no {role} model ({'; '.join(reasons) or 'none known'}). Looked in: {where}. Set ROLLCALL_MODELS to a folder with the model files."
    )


def available(folders: Sequence[ModelFolder]) -> list[Found]:
    """Return every known model with its state, sorted by role and name; damaged files give a reason, not an error.

    Manifests that cannot be read come last: nobody knows which role they were for.
    """
    known = known_manifests(folders)
    listed = []
    for manifest in sorted(known.manifests.values(), key=lambda manifest: (manifest.role, manifest.name)):
        try:
            listed.append(Found(manifest.name, manifest, *_locate(manifest, folders)))
        except ModelMismatch as error:
            listed.append(Found(manifest.name, manifest, None, str(error), damaged=True))
    return listed + [Found(name, None, None, reason, damaged=True) for name, reason in sorted(known.damaged.items())]


def known_manifests(folders: Sequence[ModelFolder]) -> Known:
    """Return all manifests; one that lies beside a user's files wins over a packaged one, the first folder over later ones.

    One that cannot be read is passed over and told: it spoils no other model.
    """
    manifests = {manifest.name: manifest for manifest in packaged_manifests()}
    damaged: dict[str, str] = {}
    for folder in reversed(folders):
        for path in sorted(folder.path.glob("*.toml")):
            try:
                manifest = read_manifest(path)
            except ModelMismatch as error:
                damaged[path.stem] = str(error)
                continue
            manifests[manifest.name] = manifest
            damaged.pop(manifest.name, None)  # of a later folder, which is not asked for this name any more
    return Known(manifests, damaged)


def _locate(manifest: Manifest, folders: Sequence[ModelFolder]) -> tuple[Model | None, str]:
    refused = False
    for folder in folders:
        paths = {part: folder.path / manifest.files[part].file for part in PARTS[manifest.role]}
        if not all(path.is_file() for path in paths.values()):
            continue
        if not manifest.commercial and not folder.any_licence:
            refused = True
            continue
        return Model(manifest, paths, _verified_sha256(manifest, paths)), ""
    terms = f"{manifest.name} is not for commercial use, and only models that are were asked for (models.commercial_only)"
    return None, terms if refused else f"{manifest.name} is not there"


def _verified_sha256(manifest: Manifest, paths: Mapping[str, Path]) -> str:
    digests = {}
    for part, path in sorted(paths.items()):
        try:
            with path.open("rb") as stream:
                digests[part] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelMismatch(f"{path} cannot be read: {error.strerror}") from error
        stated = manifest.files[part].sha256
        if stated is not None and stated != digests[part]:
            raise ModelMismatch(
                f"{path} is not the file that the manifest of {manifest.name} describes (its sha256 is {digests[part]}); fetch it again"
            )
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(f"{part} {digest}\n" for part, digest in digests.items()).encode()).hexdigest()
