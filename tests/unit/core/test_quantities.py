"""Amounts in Kubernetes' notation."""

from decimal import Decimal

import pytest

from core.domain.errors import InvalidInput
from core.domain.quantities import check_amount, parse_quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", "0.5"),
        (".5", "0.5"),
        ("2", "2"),
        ("1.", "1"),
        ("100n", "0.0000001"),
        ("7u", "0.000007"),
        ("3k", "3000"),
        ("1E", "1e18"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2Ei", "2305843009213693952"),
        ("129e6", "129000000"),
        ("12E-1", "1.2"),
        ("-1", "-1"),
        ("+1M", "1000000"),
    ],
)
def test_notations(text: str, amount: str) -> None:
    """Decimal and binary suffixes and exponents, exactly."""
    assert parse_quantity("cpu", text) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1K", "1ki", "1mi", "m", "0x10", "1e", "1e999", "NaN", "Infinity", "1_0", "١", "9" * 41]
)
def test_what_is_no_quantity(text: str) -> None:
    """Refused with the field's name, however Python itself would read it."""
    with pytest.raises(InvalidInput, match="quantity") as refused:
        parse_quantity("cpu_request", text)
    assert refused.value.field == "cpu_request"


def test_nobody_asks_for_less_than_nothing() -> None:
    """Nothing may be asked for."""
    assert check_amount("cpu", "0") == 0
    with pytest.raises(InvalidInput, match="below 0"):
        check_amount("cpu", "-1m")
