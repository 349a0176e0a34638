"""Encrypting credentials under keys that are not in the database, with Fernet (AES-128-CBC and HMAC-SHA-256).

The keys are the operator's (``SEXTANT_COLLECTION_KEYS``), or one that is made at the first start and kept in the data
directory. Whoever has the database alone, or a backup of it, cannot read what was sealed.
"""

import base64
import errno
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.runtime.settings import Settings, SettingsError
from core.domain.errors import Unavailable
from ports.driven.source_store import SealError

KEY_FILE: Final = "secrets.key"
KEY_CHARS_MIN: Final = 32
"""As many as 24 random bytes have in base64: a key is not a password."""
WRITTEN_WITHIN_S: Final = 2.0
"""Another process that has just made the file writes its one line in much less."""
_CONTEXT: Final = b"sextant metric sources: "
_decoder = msgspec.json.Decoder(dict[str, str])


class FernetSealing:
    """Implements `ports.driven.source_store.Sealing`. Keys are read when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        """Takes the operator's keys, else the data directory's; raises `SettingsError` where a key is too short."""
        given = settings.collection.keys
        self._given = [key.strip() for key in given.split(",")] if given is not None else []
        if any(len(key) < KEY_CHARS_MIN for key in self._given):
            raise SettingsError(
                [
                    f"SEXTANT_COLLECTION_KEYS: a key has fewer than {KEY_CHARS_MIN} characters; "
                    "`openssl rand -base64 32` makes one"
                ]
            )
        self._path = settings.server.data_dir / KEY_FILE

    def seal(self, secrets: Mapping[str, str]) -> bytes:
        """See `Sealing.seal`."""
        return self._fernet.encrypt(msgspec.json.encode(dict(secrets)))

    def fingerprint(self, told: bytes) -> str:
        """See `Sealing.fingerprint`; by the first key."""
        return hmac.digest(_derived(self._keys[0], b"fingerprints"), told, "sha256").hex()

    def unseal(self, sealed: bytes) -> Mapping[str, str]:
        """See `Sealing.unseal`."""
        try:
            return _decoder.decode(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise SealError(
                "the credentials were encrypted by a key that this server does not have: set SEXTANT_COLLECTION_KEYS "
                "alike on all servers, then give the credentials again"
            ) from None

    @cached_property
    def _fernet(self) -> MultiFernet:
        """The first key seals, all unseal."""
        return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key, b"credentials"))) for key in self._keys])

    @cached_property
    def _keys(self) -> list[str]:
        """Raises `Unavailable` where the data directory's cannot be kept."""
        if self._given:
            return self._given
        try:
            return [_kept_key(self._path)]
        except OSError as error:
            raise Unavailable(
                f"cannot keep the key that encrypts credentials in {self._path}: {error.strerror}; "
                "or set SEXTANT_COLLECTION_KEYS"
            ) from error


def _kept_key(path: Path) -> str:
    """The key in the file, made at random where there is none; raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(KEY_CHARS_MIN) + "\n")
    deadline_s = time.monotonic() + WRITTEN_WITHIN_S
    while not (key := path.read_text(errors="replace").strip()):
        if time.monotonic() > deadline_s:
            raise OSError(errno.EIO, "the file is empty; restore it, or remove it")
        time.sleep(0.01)
    if len(key) < KEY_CHARS_MIN or not key.isascii():
        raise OSError(errno.EIO, "the file holds no key; restore it, or remove it")
    return key


def _derived(key: str, use: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=_CONTEXT + use).derive(key.encode())
