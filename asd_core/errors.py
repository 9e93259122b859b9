"""What can go wrong, as one tree; each error says whether to try again and how a command ends.

    RollcallError
    ├── MediaError          the file cannot be served
    │   ├── Unreadable        not media, damaged beyond use, or empty
    │   ├── Unsupported       a codec, size or layout that nothing here can decode
    │   └── DecodeLimit       the child process hit its limit of time or memory
    ├── ModelError          a network cannot be used
    │   ├── ModelMissing      no file for a role in any folder
    │   ├── ModelMismatch     the file is not what its manifest says
    │   └── DeviceMissing     the GPU that the settings ask for cannot be used
    ├── RequestError        the user asked for what cannot be answered
    │   ├── NotFound          nothing of that name
    │   └── Ambiguous         several things of that name
    ├── Unavailable         database, store or orchestrator out of reach: try again
    └── ArtifactDamaged     a stored artifact fails its checksum: it is made again

No faces, no speech and no sound are results, not errors.
"""

from __future__ import annotations


class RollcallError(Exception):
    """Root of all errors that a user may meet; the message is one sentence that says what to do."""

    retryable = False
    exit_code = 1
    http_status = 500


class MediaError(RollcallError):
    """The file cannot be served."""

    http_status = 422


class Unreadable(MediaError):
    """The file is not media, is damaged beyond use, or is empty."""


class Unsupported(MediaError):
    """Nothing here decodes this codec, size or layout."""


class DecodeLimit(MediaError):
    """Decoding hit its limit of time or memory."""


class ModelError(RollcallError):
    """A network cannot be used."""


class ModelMissing(ModelError):
    """No folder holds a file for a role."""


class ModelMismatch(ModelError):
    """A model file is not what its manifest says."""


class DeviceMissing(ModelError):
    """The GPU that the settings ask for, its driver or its libraries cannot be used."""


class RequestError(RollcallError):
    """The user asked for what cannot be answered."""

    http_status = 400


class NotFound(RequestError):
    """Nothing has that name."""

    http_status = 404


class Ambiguous(RequestError):
    """Several things have that name; the message lists them."""

    http_status = 409


class Unavailable(RollcallError):
    """The database, a store or the orchestrator is out of reach."""

    retryable = True
    http_status = 503


class ArtifactDamaged(RollcallError):
    """A stored artifact fails its checksum."""

    retryable = True
