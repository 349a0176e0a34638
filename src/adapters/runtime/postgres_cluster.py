"""An embedded PostgreSQL cluster on disk: which binaries, whose files, and how it is made the first time.

`<home>/<name>` is PostgreSQL's own data directory. Our files lie beside it, where only Sextant's user writes:
`<name>.password`, `<name>.conf`, `<name>.log`, `<name>.lock`, and `<name>.init-…` while initdb runs.
"""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.runtime.postgres_binaries import (
    DEBIAN_ROOT,
    EmbeddedPostgresError,
    child_environment,
    postgres_version,
    version_major,
)
from adapters.runtime.process import Account, before_exec

SUPERUSER = "sextant"
WORKSPACE_SUFFIX = ".init-"
INITDB_TIMEOUT_S = 120.0  # initdb takes a second or two; two minutes is a disk that does not answer
REMOVE_TRIES = 60  # an orphan of initdb that still writes ends within a second; else the next start removes it
REMOVE_PAUSE_S = 0.05
OUTPUT_CHARS_MAX = 2_000  # enough for a program's last words, little enough for one error message
NEW_PASSWORD_HINT = f"set it with ALTER ROLE {SUPERUSER} PASSWORD '…' in `postgres --single`"


@dataclass(frozen=True)
class Cluster:
    """A data directory (absolute, no symlinks), the binaries for it, and who runs them (None: ourselves)."""

    data_dir: Path
    bin_dir: Path
    version: str
    account: Account | None

    def beside(self, suffix: str) -> Path:
        """Return the path of our own file next to the data directory."""
        return beside(self.data_dir, suffix)


def beside(data_dir: Path, suffix: str) -> Path:
    """Return the sibling of `data_dir` whose name has `suffix` appended."""
    return data_dir.with_name(data_dir.name + suffix)


def open_cluster(data_dir: Path, bin_dir: Path) -> Cluster:
    """Describe the cluster at `data_dir`, existing or not; refuse what these binaries cannot run."""
    version = postgres_version(bin_dir)
    if data_dir.exists():
        _check_made_by(version_major(version), data_dir, bin_dir)
    return Cluster(data_dir, bin_dir, version, _account_for(data_dir))


def able_to_reach(cluster: Cluster, paths: Iterable[Path]) -> Cluster:
    """Return `cluster` with an account that can enter the directories of `paths`, by a capability if need be.

    With that capability PostgreSQL's superuser can read any file. It is Sextant, which is root anyway.
    """
    account = cluster.account
    if account is None or all(first_closed_directory(path, account) is None for path in paths):
        return cluster
    return replace(cluster, account=replace(account, read_search=True))


def first_closed_directory(path: Path, account: Account) -> Path | None:
    """Return the outermost directory above `path` that `account` may not enter by its mode, or None."""
    for directory in reversed(path.parents):
        status = directory.stat()
        if status.st_uid == account.uid:
            entry = stat.S_IXUSR
        elif status.st_gid == account.gid:
            entry = stat.S_IXGRP
        else:
            entry = stat.S_IXOTH
        if not status.st_mode & entry:
            return directory
    return None


def cluster_password(cluster: Cluster) -> str:
    """Return the superuser's password; make the cluster first if its data directory does not exist."""
    password_file = cluster.beside(".password")
    for path in cluster.data_dir.parent.iterdir():
        if path.name.startswith(cluster.beside(WORKSPACE_SUFFIX).name):
            _remove_left_over(path)
    if not cluster.data_dir.exists():
        return _create(cluster, password_file)
    try:
        return password_file.read_text().strip()
    except FileNotFoundError as error:
        raise EmbeddedPostgresError(
            f"the password of the database in {cluster.data_dir} is missing: "
            f"put {password_file} back from a backup, or write a new one there and {NEW_PASSWORD_HINT}"
        ) from error


def cannot_run(cluster: Cluster, error: Exception) -> EmbeddedPostgresError:
    """Return the error for a program that could not even be started, with its most likely cause."""
    account = cluster.account
    if account is None:
        return EmbeddedPostgresError(f"cannot run PostgreSQL from {cluster.bin_dir}: {error}")
    places = (cluster.data_dir, cluster.bin_dir / "postgres")
    closed = [first_closed_directory(path, account) for path in places]
    if any(closed):
        return EmbeddedPostgresError(
            f"PostgreSQL refuses to run as root, and the user {account.name}, whom it runs as instead, "
            f"may not enter {closed[0] or closed[1]}: choose a --data-dir that everybody can enter "
            "(for example /var/lib/sextant/postgres), install Sextant in such a place too, "
            "or run Sextant as an ordinary user"
        )
    return EmbeddedPostgresError(
        f"cannot run PostgreSQL from {cluster.bin_dir} as the user {account.name} ({error}): let root change "
        "its user here (CAP_SETUID, CAP_SETGID) and that user execute it, or run Sextant as an ordinary user"
    )


def replace_file(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write the file at `path` durably and in one step, with exactly `mode`."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _check_made_by(major: int, data_dir: Path, bin_dir: Path) -> None:
    version_file = data_dir / "PG_VERSION"
    if not version_file.is_file():
        raise EmbeddedPostgresError(
            f"{data_dir} exists, but holds no PostgreSQL database: name a path that does not exist yet "
            "with --data-dir (Sextant makes the directory itself and changes none that it did not make)"
        )
    made_by = version_file.read_text().strip()
    if made_by != str(major):
        raise EmbeddedPostgresError(
            f"{data_dir} was made by PostgreSQL {made_by}, but {bin_dir} holds PostgreSQL {major}: "
            f"use the binaries of PostgreSQL {made_by} (Debian's are in {DEBIAN_ROOT / made_by / 'bin'}), "
            "carry the data over with pg_upgrade, or start afresh in another --data-dir"
        )


def _account_for(data_dir: Path) -> Account | None:
    """Return whom root runs PostgreSQL as: the owner of the data, else `postgres`, else `nobody`."""
    owner = data_dir.stat() if data_dir.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{data_dir} belongs to the user with id {owner.st_uid}: run Sextant as that user"
            )
        return None
    if owner is not None and owner.st_uid == 0:
        raise EmbeddedPostgresError(
            f"{data_dir} belongs to root, and PostgreSQL refuses to run as root: "
            "give it to the user who is to run PostgreSQL with `chown -R`"
        )
    if owner is not None:
        return Account(f"with id {owner.st_uid}", owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, user.pw_uid, user.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as: "
        "run Sextant as an ordinary user"
    )


def _create(cluster: Cluster, password_file: Path) -> str:
    """Make the cluster aside and rename it into place, so that one which exists is always whole."""
    password = secrets.token_urlsafe(24)
    prefix = cluster.beside(WORKSPACE_SUFFIX).name
    workspace = Path(tempfile.mkdtemp(prefix=prefix, dir=cluster.data_dir.parent))
    try:
        handed_over = workspace / "password"
        replace_file(handed_over, password)
        if cluster.account is not None:
            # The directory last: while it is ours alone nobody can put a link where the file was.
            os.chown(handed_over, cluster.account.uid, cluster.account.gid)
            os.chown(workspace, cluster.account.uid, cluster.account.gid)
        _initdb(cluster, workspace / "data", handed_over)
        replace_file(password_file, password)
        (workspace / "data").rename(cluster.data_dir)
        _sync_directory(cluster.data_dir.parent)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    return password


def _remove_left_over(workspace: Path) -> None:
    """Removes what an interrupted initdb left. The lock says that none runs now, but its child may still be writing."""
    for _ in range(REMOVE_TRIES):
        shutil.rmtree(workspace, ignore_errors=True)
        if not workspace.exists():
            return
        time.sleep(REMOVE_PAUSE_S)


def _initdb(cluster: Cluster, data_dir: Path, password_file: Path) -> None:
    options = ["--encoding=UTF8", "--no-locale", "--data-checksums", "--no-instructions"]
    access = [f"--username={SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={password_file}"]
    try:
        done = subprocess.run(  # noqa: S603 - the program is the one that the operator installed
            [str(cluster.bin_dir / "initdb"), f"--pgdata={data_dir}", *options, *access],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            cwd="/",
            env=child_environment(),
            preexec_fn=before_exec(signal.SIGKILL, cluster.account),
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(
            f"initdb did not finish within {INITDB_TIMEOUT_S:g} s: is the disk of {data_dir} well?"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise cannot_run(cluster, error) from error
    if done.returncode != 0:
        words = done.stdout[-OUTPUT_CHARS_MAX:].strip()
        raise EmbeddedPostgresError(
            f"initdb could not make the database {cluster.data_dir}. It says:\n{words}"
        )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
