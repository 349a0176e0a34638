"""Secrets that stand in the open in a workload's configuration, masked by their names and by their form.

A name is judged by its words: ``NEW_RELIC_LICENSE_KEY`` and ``licenseKey`` speak of a key, ``KEYBOARD``,
``PARTITION_KEY`` and ``KEY_FILE`` do not. Where it is not certain, masking is the lesser harm: it hides no more than a
change.

Every pattern begins where a run of its characters begins, and gives nothing back: the time is linear in the text.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from core.domain.configurations import MASK

_SECRET_WORD: Final = re.compile(
    r"passw(?:or)?d|passphrase|pgpass|secret|credential|authorization|sessionid\Z|tokens?\Z"
    "|(?:access|account|admin|api|app|auth|client|encryption|fernet|ingest|licen[cs]e|master|private|server|service"
    r"|session|shared|signing|ssh|storage|stripe)keys?\Z"
    r"|\A(?:auth|dsn|keys?|pass|pwd)\Z"
)
"""One of a name's words in small letters."""
_SECRET_AT_END: Final = frozenset({"bearer", "cookie", "cookies", "jwt", "salt", "session", "sid", "sig", "signature"})
"""A ``SESSION`` is a secret, a ``SESSION_TIMEOUT`` is none."""
_HARMLESS_AFTER: Final = re.compile(
    "algorithm|bits|count|deserializer|dir|enabled|expir(?:e|es|y)|file|format|length|limit|max|min|mode|model|name"
    "|path|per|policy|prefix|separator|serializer|size|suffix|through|timeout|ttl|type|vault"
)
"""A ``PASSWORD_MIN_LENGTH`` is none. What follows is the next word that is no secret's: both words of a secret in
``AUTH_TOKEN_TTL`` are followed by ``TTL``."""
_KEYS: Final = frozenset({"key", "keys"})
_HARMLESS_BEFORE_KEY: Final = frozenset({"cache", "foreign", "object", "partition", "public", "range", "sort"})
_PRIMARY_KEY: Final = ["primary", "key"]
"""Of a table; an ``AZURE_COSMOS_PRIMARY_KEY`` opens a database."""
_BOUNDS: Final = frozenset({"max", "min"})
"""A ``MAX_NEW_TOKENS`` bounds a text."""
_HOOKS: Final = frozenset({"hook", "hooks", "webhook", "webhooks"})
_ADDRESSES: Final = frozenset({"address", "addresses", "endpoint", "uri", "url", "urls"})
"""A hook's address is all that is needed to write to it."""
_WORD: Final = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.ASCII)

_NAME_CHARS: Final = "A-Za-z0-9_.-"
_NAMED: Final = re.compile(
    rf"(?<![{_NAME_CHARS}])(?P<name>[{_NAME_CHARS}]++)"
    r"""(?P<quote>\\?["'])?+(?:\s{0,16}+(?P<sign>=>|:?={1,3}|:)[ \t]{0,16}+|(?P<gap>[ \t,]{1,16}+)(?!-))""",
    re.ASCII,
)
"""What a value comes after: ``name=``, ``"name": ``, ``Name: `` of a header, ``--name `` of a command."""
_QUOTED: Final = re.compile(
    r"""\\"(?:[^"\\]|\\[^"])*+(?:\\")?+|"(?:[^"\\]|\\.)*+"?+|'(?:[^'\\]|\\.)*+'?+|\[[^\]]*+\]?+|\{[^}]*+\}?+""",
    re.DOTALL,
)
_ASSIGNED: Final = re.compile(r"(?:(?:Bearer|Basic|Token|Digest)[ \t]{1,16}+)?+[^\s;&]++", re.IGNORECASE)
_BLOCK: Final = re.compile(r"(?:[|>][-+]?[ \t]*+)?\r?\n(?:(?:[ \t]++|- )[^\n]*+(?:\n|\Z))++")
"""Of YAML: all lines under a name that stand further in, or are a list."""
_TO_LINE_END: Final = re.compile(r"""[^\r\n"']++""")
_PORT_OR_SCHEME: Final = re.compile(r"\d{1,5}(?![\w.-])|//", re.ASCII)
"""After a colon: what stands before it is a host or a scheme, whatever it is called."""
_OWN_ARGUMENT: Final = re.compile(r"(?P<name>--?[A-Za-z0-9._-]++)(?P<between>[= ])(?P<value>.+)\Z", re.DOTALL)

_BY_FORM: Final = tuple(
    (re.compile(pattern, flags), put)
    for pattern, flags, put in (
        (r"(?P<kept>://[^/\s:@]*+:)[^/\s\"']+@", 0, rf"\g<kept>{MASK}@"),
        (r"(?P<kept>https?://)[^/\s:@\"']++@", re.IGNORECASE, rf"\g<kept>{MASK}@"),
        (r"(?<!\w)(?P<kept>bearer[ \t]{1,16}+)[\w.~+/=-]++", re.IGNORECASE, rf"\g<kept>{MASK}"),
        (r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END[A-Z -]{0,60}|\Z)", re.DOTALL, MASK),
        (r"(?<![\w.-])eyJ[\w-]{8,}+\.[\w.-]++", re.ASCII, MASK),
        (r"(?<![\w-])(?:gh[opsru]_|github_pat_|glpat-|xox[a-z]-|[rs]k_live_|sk-)[\w-]{10,}+", re.ASCII, MASK),
    )
)
"""Passwords in addresses, or names there that are all there is; bearer tokens, private keys, and tokens that tell by
how they begin whose they are."""
_WEB_ADDRESS: Final = re.compile(r"""https?://[^\s"'<>\\`]++""", re.IGNORECASE)
_HOOK: Final = re.compile("hook", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether what stands under such a name is likely to be a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if words[-1] in _SECRET_AT_END or ("session", "id") in pairwise(words):
        return True
    if words[-1] in _HOOKS or (words[-1] in _ADDRESSES and not _HOOKS.isdisjoint(words)):
        return True
    if words == _PRIMARY_KEY:
        return False
    bounds = not _BOUNDS.isdisjoint(words)
    after = ""
    for before, word in reversed([*pairwise(["", *words])]):
        if not _SECRET_WORD.search(word) or (word in _KEYS and before in _HARMLESS_BEFORE_KEY):
            after = word
        elif not _HARMLESS_AFTER.fullmatch(after) and not (bounds and word == "tokens"):
            return True
    return False


def masked_value(name: str, value: str) -> str:
    """The value of a variable."""
    return MASK if value and is_secret_name(name) else masked_text(value)


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command; what follows the name of a secret is masked, and what `masked_text` finds."""
    shown: list[str] = []
    secret_follows = False
    for argument in arguments:
        named = _OWN_ARGUMENT.match(argument)
        if secret_follows and not argument.startswith("-"):
            shown.append(MASK)
        elif named is not None and is_secret_name(named["name"]):
            shown.append(f"{named['name']}{named['between']}{MASK}")
        else:
            shown.append(masked_text(argument))
        secret_follows = argument.startswith("-") and named is None and is_secret_name(argument)
    return shown


def masked_text(text: str) -> str:
    """The text with what stands under names of secrets masked, as in a shell command, a header, JSON or YAML, and what
    is a secret by its form."""
    for pattern, put in _BY_FORM:
        text = pattern.sub(put, text)
    return _masked_members(_WEB_ADDRESS.sub(_masked_hook, text))


def _masked_members(text: str) -> str:
    parts: list[str] = []
    done = 0
    for named in _NAMED.finditer(text):
        if named.start() >= done and is_secret_name(named["name"]):
            end = _value_end(text, named)
            if end > named.end():
                parts += text[done : named.end()], MASK
                done = end
    return "".join([*parts, text[done:]])


def _value_end(text: str, named: re.Match[str]) -> int:
    """Where the value ends that begins after the name; there if it has none."""
    start = named.end()
    if named["gap"] is not None and not named["name"].startswith("-"):
        return start
    if named["sign"] == ":" and named["quote"] is None and text[start - 1] == ":":
        # Without a space it may be an address, or a part of one: token-service:8080, arn:aws:secretsmanager:eu-west-1.
        before = text[named.start() - 1] if named.start() else ""
        if before in (":", "/") or _PORT_OR_SCHEME.match(text, start):
            return start
    is_header = named["sign"] == ":" and named["quote"] is None
    forms = (_QUOTED, _BLOCK, _TO_LINE_END) if is_header else (_QUOTED, _ASSIGNED)
    return next((value.end() for form in forms if (value := form.match(text, start)) is not None), start)


def _masked_hook(address: re.Match[str]) -> str:
    """Of a hook's address the host, and a path that says it is one."""
    text = address[0]
    hook = _HOOK.search(text)
    rest = text.find("/", hook.end()) + 1 if hook is not None else 0
    return f"{text[:rest]}{MASK}" if 0 < rest < len(text) else text
