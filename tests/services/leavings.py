"""What a library leaves behind, to be searched for what is secret."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.programs import find_programs


def left_behind(home: Path, *, database: str, client, bucket: str) -> dict[str, bytes]:
    """Return by name the files of a home, the objects of a bucket (`s3 …`), and a dump of a database (`database`)."""
    left = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for each in client.list_objects(bucket_name=bucket, recursive=True):
        with client.get_object(bucket_name=bucket, object_name=each.object_name) as answer:
            left[f"s3 {each.object_name}"] = answer.read()
    left["database"] = subprocess.run([find_programs(None) / "pg_dump", "--dbname", database], capture_output=True, check=True).stdout
    return left


def found_in(left: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return where a secret was left, and which."""
    return [(name, what) for name, content in left.items() for what, word in secrets.items() if word.encode() in content]
