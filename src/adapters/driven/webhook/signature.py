"""Signatures of webhooks, by Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


def signature_header(secrets: tuple[str, ...], message_id: str, timestamp_s: int, body: bytes) -> str:
    """``v1,<base64>`` for every key of every secret, separated by spaces; a receiver takes any that it knows."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    keys = dict.fromkeys(key for secret in secrets for key in secret_keys(secret))
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)


def secret_keys(secret: str) -> tuple[bytes, ...]:
    """The bytes that `secret` stands for; raises `ValueError` where it names none.

    ``whsec_`` is followed by Base64. Other text is the key itself; the specification's libraries read such text as
    Base64 too, so it signs both ways, and a receiver may do either.
    """
    if secret.startswith(_PREFIX):
        key = _decoded(secret.removeprefix(_PREFIX))
        if not key:
            raise ValueError(f"what follows {_PREFIX} is not Base64")
        return (key,)
    key = _decoded(secret)
    return (secret.encode(), key) if key else (secret.encode(),)


def _decoded(text: str) -> bytes:
    try:
        # As those libraries do it: padding may be missing, characters of no meaning are passed over.
        return base64.b64decode(text + "==")
    except (binascii.Error, ValueError):
        return b""
