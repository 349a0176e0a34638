"""Amounts in Kubernetes' notation: ``500m``, ``0.5``, ``1.5Gi``, ``128974848``, ``129e6``.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import Decimal
from typing import Final

from core.domain.errors import InvalidInput

QUANTITY_CHARS_MAX: Final = 40
"""More digits than an exact amount of anything has."""
_FORM: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<power>[+-]?[0-9]{1,2}))?\Z",
    re.ASCII,
)
_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse_quantity(field: str, text: str) -> Decimal:
    """The amount, exactly: cores of ``500m`` are 0.5, bytes of ``1Ki`` 1024. Raises `InvalidInput` naming `field`."""
    form = _FORM.match(text) if len(text) <= QUANTITY_CHARS_MAX else None
    if form is None:
        raise InvalidInput(field, f"{text[:64]!r} is not a quantity such as 500m, 1.5 or 2Gi")
    power = form["power"]
    scale = _SUFFIXES[form["suffix"]] if form["suffix"] else Decimal(1 if power is None else f"1e{power}")
    return Decimal(form["number"]) * scale


def check_amount(field: str, text: str) -> Decimal:
    """The amount of something that one can ask for; raises `InvalidInput` where it is none, or below 0."""
    amount = parse_quantity(field, text)
    if amount < 0:
        raise InvalidInput(field, f"{text!r} is below 0")
    return amount


def cpu_quantity(cores: float) -> str:
    """``250m``, or ``2`` where they are whole; rounded to millicores."""
    millicores = round(cores * 1_000.0)
    return f"{millicores}m" if millicores % 1_000 else str(millicores // 1_000)


def memory_quantity(size_bytes: float) -> str:
    """``512Mi`` where they are whole mebibytes, else the bytes."""
    whole = round(size_bytes)
    return str(whole) if whole % (1 << 20) else f"{whole >> 20}Mi"
