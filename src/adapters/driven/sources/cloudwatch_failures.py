"""What AWS's refusals and broken answers mean, in words that say what to do and hold no credential."""

from typing import Final

import msgspec
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from adapters.driven.actions.shown import shown
from adapters.runtime.outbound import OutboundFailed, OutboundRefused
from core.domain.collection import ProblemKind

SAID_CHARS_MAX: Final = 300
"""Of AWS's own text: its reason is in the first sentence."""
IAM_ACTIONS: Final = {
    "get_metric_data": "cloudwatch:GetMetricData",
    "list_metrics": "cloudwatch:ListMetrics",
    "describe_instances": "ec2:DescribeInstances",
}
"""Operation → the action that a policy must allow."""
HOW_TO_SIGN_IN: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary keys) for the server's own "
    "source, or the source's credentials access_key_id and secret_access_key (and session_token)"
)

_UNKNOWN_KEYS = frozenset(
    {
        "UnrecognizedClientException", "UnrecognizedClient", "InvalidClientTokenId", "InvalidAccessKeyId",
        "AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature",
        "IncompleteSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
        "OptInRequired",
    }
)  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_CLOCK_TEXTS = ("Signature expired", "Signature not yet current")
"""Of InvalidSignatureException and SignatureDoesNotMatch, which say the same of wrong keys."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"})
_TOO_FAST = frozenset(
    {
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
        "RequestLimitExceeded", "TooManyRequestsException", "BandwidthLimitExceeded", "LimitExceeded", "SlowDown",
    }
)  # fmt: skip
_SIGN_IN_ERRORS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
    ProfileNotFound,
)


class AnswerCut(Exception):
    """An answer that broke off, or was longer than may be."""

    def __init__(self, *, too_large: bool) -> None:
        super().__init__("too large" if too_large else "broken off")
        self.too_large = too_large


class AwsFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one attempt at a call failed."""

    kind: ProblemKind
    message: str
    retryable: bool = False


def failure_of(error: Exception, operation: str) -> AwsFailure:
    """What went wrong with `operation`, such as ``get_metric_data``."""
    action = IAM_ACTIONS[operation]
    match error:
        case ClientError():
            return _refusal(error, action)
        case AnswerCut(too_large=True):
            return AwsFailure(kind=ProblemKind.BAD_ANSWER, message=f"the answer to {action} is larger than may be")
        case AnswerCut():
            return _unreachable(f"the answer to {action} broke off")
        case OutboundFailed():
            return _unreachable(f"{error.reason} (is the region right?)")
        case OutboundRefused():
            return AwsFailure(kind=ProblemKind.CONFIGURATION, message=error.reason)
        case ParamValidationError():
            return AwsFailure(kind=ProblemKind.BAD_QUERY, message=f"{action}: {_said(str(error))}")
        case error if isinstance(error, _SIGN_IN_ERRORS):
            return AwsFailure(kind=ProblemKind.CREDENTIALS, message=f"no AWS credentials were found: {HOW_TO_SIGN_IN}")
        case BotoCoreError():
            # Its texts name files of the server's.
            message = f"AWS's own configuration cannot be used ({type(error).__name__})"
            return AwsFailure(kind=ProblemKind.CONFIGURATION, message=message)
        case _:
            message = f"the answer to {action} is not what AWS's documentation says"
            return AwsFailure(kind=ProblemKind.BAD_ANSWER, message=message)


def _refusal(error: ClientError, action: str) -> AwsFailure:
    code = str(error.response.get("Error", {}).get("Code", ""))
    text = str(error.response.get("Error", {}).get("Message") or "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{_said(code)}: {_said(text)}" if text else _said(code)
    if not action.endswith(f":{error.operation_name}"):
        # The standard chain asked for credentials by a call of its own, such as AssumeRoleWithWebIdentity.
        message = f"AWS gave no credentials for the role of this server ({error.operation_name}: {said})"
        return AwsFailure(kind=ProblemKind.CREDENTIALS, message=message)
    if code in _CLOCK or any(words in text for words in _CLOCK_TEXTS):
        message = f"AWS takes this server's clock to be wrong, which signatures hold; set the clock ({said})"
        return AwsFailure(kind=ProblemKind.CONFIGURATION, message=message)
    if code in _EXPIRED:
        message = f"the session token has expired: {HOW_TO_SIGN_IN} anew ({_said(code)})"
        return AwsFailure(kind=ProblemKind.CREDENTIALS, message=message)
    if code in _UNKNOWN_KEYS:
        # AWS's text repeats the access key's id, and what was signed.
        message = f"AWS does not know these credentials ({_said(code)}): {HOW_TO_SIGN_IN}"
        return AwsFailure(kind=ProblemKind.CREDENTIALS, message=message)
    if code in _DENIED:
        message = f"the credentials may not do {action}; allow it in a policy of their user or role"
        return AwsFailure(kind=ProblemKind.PERMISSION, message=message)
    if code in _TOO_FAST or status == 429:
        message = f"AWS throttles {action} ({_said(code)}); a lower calls_per_minute helps, or a higher quota"
        return AwsFailure(kind=ProblemKind.RATE_LIMITED, message=message, retryable=True)
    if status >= 500:
        return _unreachable(f"AWS answered {status} to {action} ({said})")
    if status >= 400:
        return AwsFailure(kind=ProblemKind.BAD_QUERY, message=f"AWS refused {action} ({said})")
    message = f"AWS answered {status} to {action}, which leads elsewhere and was not followed"
    return AwsFailure(kind=ProblemKind.BAD_ANSWER, message=message)


def _unreachable(message: str) -> AwsFailure:
    return AwsFailure(kind=ProblemKind.UNREACHABLE, message=message, retryable=True)


def _said(text: str) -> str:
    return shown(text, chars_max=SAID_CHARS_MAX)
