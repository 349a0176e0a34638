"""Sealing credentials: keys, their file, rotation, and what is said where a key is missing."""

import stat
from pathlib import Path

import pytest

from adapters.runtime.sealing import KEY_FILE, FernetSealing
from adapters.runtime.settings import CollectionSettings, ServerSettings, Settings, SettingsError
from core.domain.errors import Unavailable
from ports.driven.source_store import SealError

SECRETS = {"api_key": "canary-1", "app_key": "canary-2"}
OLD, NEW = "old" * 11, "new" * 11


def sealing(data_dir: Path, keys: str | None = None) -> FernetSealing:
    """As a process opens it."""
    return FernetSealing(Settings(server=ServerSettings(data_dir=data_dir), collection=CollectionSettings(keys=keys)))


def test_another_process_reads_what_one_has_sealed_by_the_key_in_the_data_directory(tmp_path: Path) -> None:
    """The key is made once, for its owner alone; the sealed text shows nothing and is never the same twice."""
    sealed = sealing(tmp_path / "data").seal(SECRETS)
    assert sealing(tmp_path / "data").unseal(sealed) == SECRETS
    assert b"canary" not in sealed
    assert sealing(tmp_path / "data").seal(SECRETS) != sealed
    assert stat.S_IMODE((tmp_path / "data" / KEY_FILE).stat().st_mode) == 0o600


def test_keys_are_rotated_by_putting_the_new_one_first(tmp_path: Path) -> None:
    """What the old key sealed is still read; the new one seals."""
    sealed = sealing(tmp_path, OLD).seal(SECRETS)
    assert sealing(tmp_path, f"{NEW},{OLD}").unseal(sealed) == SECRETS
    with pytest.raises(SealError, match="SEXTANT_COLLECTION_KEYS"):
        sealing(tmp_path, NEW).unseal(sealed)
    assert not (tmp_path / KEY_FILE).exists()


def test_a_fingerprint_is_of_the_key_as_well(tmp_path: Path) -> None:
    """Whoever has the database alone cannot try out passwords."""
    assert sealing(tmp_path, OLD).fingerprint(b"told") == sealing(tmp_path, f"{OLD},{NEW}").fingerprint(b"told")
    assert sealing(tmp_path, OLD).fingerprint(b"told") != sealing(tmp_path, NEW).fingerprint(b"told")
    assert sealing(tmp_path, OLD).fingerprint(b"told") != sealing(tmp_path, OLD).fingerprint(b"other")


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    """It is authenticated, not only encrypted."""
    own = sealing(tmp_path)
    sealed = bytearray(own.seal(SECRETS))
    sealed[-9] ^= 1
    with pytest.raises(SealError):
        own.unseal(bytes(sealed))


def test_a_key_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Too short, an empty file, or a directory that cannot be made."""
    with pytest.raises(SettingsError, match="openssl rand"):
        sealing(tmp_path, "short")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"file/secrets\.key.*SEXTANT_COLLECTION_KEYS"):
        sealing(tmp_path / "file").seal(SECRETS)


@pytest.mark.parametrize("damaged", [b"\xff\xfe" * 40, b"short\n"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, damaged: bytes) -> None:
    """Whatever has happened to it: nothing is sealed by what is not a key."""
    (tmp_path / KEY_FILE).write_bytes(damaged)
    with pytest.raises(Unavailable, match=r"holds no key; restore it, or remove it"):
        sealing(tmp_path).seal(SECRETS)
