"""What a vendor's refusals mean.

VendorFailed            the request cannot be answered; carries a `Problem`
└── AnswerTooLarge      it can for a part of the window
"""

from typing import Final

import msgspec

from core.domain.collection import Problem, ProblemKind

_MAY_PASS: Final = frozenset({408, 425, 429})


class VendorFailed(Exception):
    """The vendor gave no usable answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class AnswerTooLarge(VendorFailed):
    """The answer is larger than is read; one for a shorter window may not be."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a try gave nothing, and whether another one may."""

    kind: ProblemKind
    message: str
    again: bool = False
    wait_s: float | None = None
    """How long the vendor asks to wait before."""
    too_large: bool = False

    @property
    def problem(self) -> Problem:
        """For the item or the source."""
        return Problem(kind=self.kind, message=self.message)


def usual_refusal(name: str, status: int) -> Refusal:
    """What a status means where the vendor says nothing else."""
    answered = f"{name} answered {status}"
    if 300 <= status < 400:
        return Refusal(kind=ProblemKind.BAD_ANSWER, message=f"{answered}, a redirect, which is never followed")
    match status:
        case 401:
            return Refusal(kind=ProblemKind.CREDENTIALS, message=f"{answered}: the credentials are wrong or expired")
        case 403:
            return Refusal(kind=ProblemKind.PERMISSION, message=f"{answered}: the credentials may not read metrics")
        case 429:
            return Refusal(kind=ProblemKind.RATE_LIMITED, message=f"{answered} (too many requests)", again=True)
        case 400 | 413 | 414 | 422:
            return Refusal(kind=ProblemKind.BAD_QUERY, message=f"{answered}: it refuses the query")
        case 404 | 405 | 410:
            return Refusal(kind=ProblemKind.CONFIGURATION, message=f"{answered}: there is no such API at this address")
        case _ if status >= 500 or status in _MAY_PASS:
            return Refusal(kind=ProblemKind.UNREACHABLE, message=answered, again=True)
        case _:
            return Refusal(kind=ProblemKind.BAD_ANSWER, message=f"{answered}, which is not documented")
