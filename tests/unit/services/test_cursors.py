"""Pages and their cursors."""

import pytest

from core.domain.errors import InvalidInput
from core.services.cursors import check_page, cut, decode_row_cursor, encode_cursor


def test_a_full_last_page_has_no_next_one() -> None:
    """More is only where a row past the page was found."""
    assert cut([1, 2, 3], 3) == ([1, 2, 3], False)
    assert cut([1, 2, 3, 4], 3) == ([1, 2, 3], True)
    assert cut([], 3) == ([], False)


@pytest.mark.parametrize("row_id", [1, 255, (1 << 63) - 1])
def test_a_cursor_says_where_the_page_ended(row_id: int) -> None:
    """It goes into a URL as it is."""
    cursor = encode_cursor(row_id)
    assert decode_row_cursor(cursor) == row_id
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_the_first_page_has_none() -> None:
    """And no id is before it."""
    assert decode_row_cursor(None) is None


@pytest.mark.parametrize("limit", [-1, 0, 1_001])
def test_pages_are_bounded(limit: int) -> None:
    """From 1 to 1000 rows."""
    with pytest.raises(InvalidInput, match="limit"):
        check_page(limit)
    check_page(1)
    check_page(1_000)
