"""Signed links: only what was signed, unchanged and in time, says anything."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.approval_link import ApprovalClaim, approval_url, check_token, make_token

SECRET = bytes(range(32))
CLAIM = ApprovalClaim(tenant_id=1, remediation_id=77, expires_us=1_000_000)


@given(tenant_id=st.integers(1, 2**31 - 1), remediation_id=st.integers(1, 2**63 - 1), expires_us=st.integers(1, 2**62))
def test_a_token_says_what_was_signed(tenant_id: int, remediation_id: int, expires_us: int) -> None:
    """Until its last microsecond, and not after it."""
    claim = ApprovalClaim(tenant_id=tenant_id, remediation_id=remediation_id, expires_us=expires_us)
    token = make_token(SECRET, claim)
    assert check_token(SECRET, token, now_us=expires_us - 1) == claim
    assert check_token(SECRET, token, now_us=expires_us) is None


@given(place=st.integers(0, 55), change=st.integers(1, 255))
def test_a_changed_token_says_nothing(place: int, change: int) -> None:
    """Whichever byte is changed."""
    token = make_token(SECRET, CLAIM)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place] ^= change
    assert check_token(SECRET, base64.urlsafe_b64encode(raw).decode().rstrip("="), now_us=0) is None


@given(st.text(max_size=200))
def test_anything_else_says_nothing(token: str) -> None:
    """No text makes it raise."""
    assert check_token(SECRET, token, now_us=0) is None


def test_another_key_says_nothing() -> None:
    """A token is good only where it was made."""
    assert check_token(bytes(32), make_token(SECRET, CLAIM), now_us=0) is None


@pytest.mark.parametrize("public_url", ["https://sextant.example", "https://sextant.example/"])
def test_the_address_of_the_page(public_url: str) -> None:
    """The token needs no escaping in it."""
    token = make_token(SECRET, CLAIM)
    assert approval_url(public_url, token) == f"https://sextant.example/api/v1/remediations/decide?token={token}"
