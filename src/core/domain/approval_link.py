"""Signed links that approve one remediation: whoever holds one may answer, until it expires.

A token is ``tenant, remediation, expiry`` followed by an HMAC-SHA256 over them, base64url without padding; it names
nothing that could be guessed into another one. The key is the server's own and never leaves it.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Final

import msgspec

SECRET_NAME: Final = "approval-link"  # noqa: S105  # the name under which the server keeps the key, not the key
PATH: Final = "/api/v1/remediations/decide"
"""Where the page is that a link opens; the token is its query."""

_CONTEXT: Final = b"sextant approval link 1\n"
"""Signed in front, so that no other use of the same key makes a token."""
_CLAIM: Final = struct.Struct(">qqq")
_SIGNATURE_BYTES: Final = hashlib.sha256().digest_size


class ApprovalClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is about."""

    tenant_id: int
    remediation_id: int
    expires_us: int


def make_token(secret: bytes, claim: ApprovalClaim) -> str:
    """The token of `claim`: letters, digits, - and _."""
    content = _CLAIM.pack(claim.tenant_id, claim.remediation_id, claim.expires_us)
    return base64.urlsafe_b64encode(content + _signature(secret, content)).decode().rstrip("=")


def check_token(secret: bytes, token: str, *, now_us: int) -> ApprovalClaim | None:
    """What `token` is about; None where it was not made with `secret` or has expired."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _CLAIM.size + _SIGNATURE_BYTES:
        return None
    content, signature = raw[: _CLAIM.size], raw[_CLAIM.size :]
    if not hmac.compare_digest(signature, _signature(secret, content)):
        return None
    tenant_id, remediation_id, expires_us = _CLAIM.unpack(content)
    if now_us >= expires_us:
        return None
    return ApprovalClaim(tenant_id=tenant_id, remediation_id=remediation_id, expires_us=expires_us)


def approval_url(public_url: str, token: str) -> str:
    """The address of the page that shows what is asked, where `public_url` is how people reach this server."""
    return f"{public_url.rstrip('/')}{PATH}?token={token}"


def _signature(secret: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, _CONTEXT + content, "sha256")
