"""One request to a vendor: tries, waits, time limits, and what is made of every kind of answer."""

from collections.abc import AsyncIterator
from email.utils import formatdate

import msgspec
import pytest

from adapters.driven.memory.clock import FakeClock
from adapters.driven.sources.call_budget import BudgetSpent, CallBudget
from adapters.driven.sources.surroundings import Surroundings
from adapters.driven.sources.vendor_failures import AnswerTooLarge, Refusal, VendorFailed
from adapters.driven.sources.vendor_http import TRIES_MAX, Vendor, VendorHttp, base_address
from adapters.driven.sources.vendor_json import VALUES_MAX
from core.domain.collection import ProblemKind
from core.domain.source_configs import PrometheusConfig
from core.domain.sources import SourceSpec
from ports.driven.metric_source import SourceError
from tests.support.receiver import Behaviour, Receiver, answer, drip, garbage, hang, reset
from tests.support.vendors.faults import half, redirect
from tests.support.vendors.passing import PassingPause, loopback_surroundings

SECRET = "s3cret-key-of-a-tenant"
OK = answer(200, '{"value": 7}')


class Value(msgspec.Struct):
    """What is asked for in these tests."""

    value: float
    text: str = ""


class Asking:
    """A vendor's HTTP with all that it stands on."""

    def __init__(self, receiver: Receiver, *, timeout_s: float = 5.0, calls_per_run_max: int = 1_000) -> None:
        self.clock = FakeClock()
        self.pause = PassingPause(self.clock)
        spec = SourceSpec(name="v", config=PrometheusConfig(url="http://unused"), calls_per_run_max=calls_per_run_max)
        self.budget = CallBudget(spec, self.clock, self.pause)
        self.surroundings: Surroundings = loopback_surroundings(self.clock, self.pause)
        self.receiver = receiver
        self.vendor = Vendor(
            name="Vendor",
            base_url=receiver.url(""),
            headers={"X-Key": SECRET},
            secrets=(SECRET,),
            reset_header="x-ratelimit-reset",
            timeout_s=timeout_s,
        )
        self.http = self.of(self.vendor)

    def of(self, vendor: Vendor) -> VendorHttp:
        """The same for another vendor; random waits are as long as they may be."""
        return VendorHttp(
            vendor,
            self.surroundings.client,
            self.budget,
            self.clock,
            self.pause,
            jitter=lambda _, longest_s: longest_s,
        )

    async def failed(self, *behaviours: Behaviour) -> VendorFailed:
        """How a request ends that meets these."""
        self.receiver.script = list(behaviours)
        with pytest.raises(VendorFailed) as failed:
            await self.http.get("/value", Value, {"token": "also-not-to-be-shown"})
        assert SECRET not in str(failed.value)
        assert "also-not" not in str(failed.value)
        assert self.receiver.url("") not in str(failed.value)
        assert str(failed.value) == failed.value.problem.message
        return failed.value


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a server that answers well unless told otherwise."""
    served = Receiver()
    served.behave = OK
    async with served.listening():
        yield served


@pytest.fixture
def asking(receiver: Receiver) -> Asking:
    """Return a client of it."""
    return Asking(receiver)


class TestRequests:
    """What is sent."""

    async def test_a_get_carries_the_key_and_asks_for_plain_bytes(self, asking: Asking) -> None:
        """Parameters are percent-encoded; nothing compressed may come back, which could unfold without end."""
        assert await asking.http.get("/value", Value, {"query": 'a{b="c d"}+é'}) == Value(7)
        (request,) = asking.receiver.requests
        assert request.path == "/value?query=a%7Bb%3D%22c%20d%22%7D%2B%C3%A9"
        assert request.headers["x-key"] == SECRET
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"

    async def test_long_parameters_go_into_a_form(self, asking: Asking) -> None:
        """Because a URL that long is refused on the way."""
        assert await asking.http.form("/value", Value, {"query": "é" * 4_000}) == Value(7)
        (request,) = asking.receiver.requests
        assert (request.method, request.path) == ("POST", "/value")
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.body == b"query=" + b"%C3%A9" * 4_000

    @pytest.mark.parametrize("url", ["https://v.example/?a=b", "https://v.example/#x"])
    def test_an_address_with_a_query_is_refused(self, url: str) -> None:
        """Paths would be put behind it."""
        with pytest.raises(SourceError) as error:
            base_address(url)
        assert error.value.problem.kind is ProblemKind.CONFIGURATION

    def test_an_address_may_have_a_path(self) -> None:
        """As behind a proxy."""
        assert base_address("https://v.example/prometheus/") == "https://v.example/prometheus"


class TestTrying:
    """What passes by itself."""

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    async def test_what_may_pass_is_tried_again(self, asking: Asking, status: int) -> None:
        """After waits of which each is at most twice the one before."""
        asking.receiver.script = [answer(status)] * 3
        assert await asking.http.get("/value", Value) == Value(7)
        assert asking.pause.waits_s == [1, 2, 4]

    @pytest.mark.parametrize("fault", [reset, half(b'{"value": 7}'), garbage])
    async def test_a_broken_connection_is_tried_again(self, asking: Asking, fault: Behaviour) -> None:
        """In the middle of an answer too."""
        asking.receiver.script = [fault]
        assert await asking.http.get("/value", Value) == Value(7)

    @pytest.mark.parametrize("fault", [hang, drip(200)])
    async def test_a_try_has_a_time_limit(self, receiver: Receiver, fault: Behaviour) -> None:
        """Also where bytes keep coming."""
        asking = Asking(receiver, timeout_s=1.0)
        receiver.script = [fault]
        assert await asking.http.get("/value", Value) == Value(7)

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (answer(503), ProblemKind.UNREACHABLE),
            (answer(429), ProblemKind.RATE_LIMITED),
            (reset, ProblemKind.UNREACHABLE),
            (half(b'{"value": 7}'), ProblemKind.BAD_ANSWER),
        ],
    )
    async def test_tries_end(self, asking: Asking, fault: Behaviour, kind: ProblemKind) -> None:
        """Each of them is a call of the budget."""
        asking.receiver.behave = fault
        failed = await asking.failed()
        assert failed.problem.kind is kind
        assert "(4 tries)" in failed.problem.message
        assert asking.budget.usage().calls == TRIES_MAX

    async def test_tries_end_with_the_budget(self, receiver: Receiver) -> None:
        """Retrying spends what the run has."""
        asking = Asking(receiver, calls_per_run_max=2)
        receiver.script = [answer(503)] * 4
        with pytest.raises(BudgetSpent):
            await asking.http.get("/value", Value)
        assert len(receiver.requests) == 2

    @pytest.mark.parametrize(
        ("headers", "waits_s"),
        [
            ({"Retry-After": "7"}, [7]),
            ({"Retry-After": formatdate(1_767_225_600 + 9, usegmt=True)}, [9]),
            ({"X-RateLimit-Reset": "13"}, [13]),
            ({"Retry-After": "5", "X-RateLimit-Reset": "13"}, [5]),
            ({"Retry-After": "soon"}, [1]),
            ({"Retry-After": "-3"}, [1]),
            ({}, [1]),
        ],
    )
    async def test_the_vendor_says_how_long(
        self, asking: Asking, headers: dict[str, str], waits_s: list[float]
    ) -> None:
        """In seconds, as an instant, or by its own header."""
        asking.receiver.script = [answer(429, headers=headers)]
        assert await asking.http.get("/value", Value) == Value(7)
        assert asking.pause.waits_s == waits_s

    async def test_when_a_rate_limit_ends_says_nothing_of_a_passing_fault(self, asking: Asking) -> None:
        """Vendors name it in every answer; Retry-After is meant for this one."""
        asking.receiver.script = [
            answer(502, headers={"X-RateLimit-Reset": "3000"}),
            answer(503, headers={"X-RateLimit-Reset": "3000", "Retry-After": "7"}),
        ]
        assert await asking.http.get("/value", Value) == Value(7)
        assert asking.pause.waits_s == [1, 7]

    async def test_a_vendor_that_wants_an_hour_gets_it_until_the_next_run(self, asking: Asking) -> None:
        """This one does not wait."""
        failed = await asking.failed(answer(429, headers={"Retry-After": "3600"}))
        assert failed.problem.kind is ProblemKind.RATE_LIMITED
        assert "asks to wait 3600 s" in failed.problem.message
        assert asking.pause.waits_s == []

    async def test_what_the_vendor_says_in_a_good_status_may_be_tried_again(self, asking: Asking) -> None:
        """As GraphQL's errors."""
        asking.receiver.script = [answer(200, '{"value": 0, "text": "busy"}')]

        def judge(value: Value) -> Refusal | None:
            return Refusal(kind=ProblemKind.RATE_LIMITED, message=value.text, again=True) if value.text else None

        assert await asking.http.post("/value", Value, b"{}", "application/json", judge) == Value(7)


class TestStatuses:
    """What helps nothing to try again."""

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (301, ProblemKind.BAD_ANSWER),
            (307, ProblemKind.BAD_ANSWER),
            (400, ProblemKind.BAD_QUERY),
            (401, ProblemKind.CREDENTIALS),
            (403, ProblemKind.PERMISSION),
            (404, ProblemKind.CONFIGURATION),
            (418, ProblemKind.BAD_ANSWER),
            (422, ProblemKind.BAD_QUERY),
        ],
    )
    async def test_is_said_at_once(self, asking: Asking, status: int, kind: ProblemKind) -> None:
        """With the status in it."""
        failed = await asking.failed(answer(status, "nothing to see"))
        assert failed.problem.kind is kind
        assert str(status) in failed.problem.message
        assert len(asking.receiver.requests) == 1

    async def test_a_redirect_is_not_followed(self, asking: Asking) -> None:
        """Not even to where the guard would let it: the key would travel along."""
        async with Receiver().listening() as elsewhere:
            failed = await asking.failed(redirect(elsewhere.url("/admin")))
            assert "never followed" in failed.problem.message
            assert elsewhere.requests == []

    async def test_an_address_that_the_guard_refuses_is_said(self, asking: Asking) -> None:
        """As something to mend in the configuration."""
        asking.http = asking.of(msgspec.structs.replace(asking.vendor, base_url="http://10.0.0.7:9090"))
        failed = await asking.failed()
        assert failed.problem.kind is ProblemKind.CONFIGURATION
        assert "not a public address" in failed.problem.message

    async def test_a_secret_that_the_vendor_repeats_is_left_out(self, asking: Asking) -> None:
        """With what would disturb a log."""

        def explain(_: object) -> Refusal:
            return Refusal(kind=ProblemKind.BAD_QUERY, message=f"bad\nkey \x1b[31m{SECRET}\ud800 {'x' * 9_000}")

        asking.http = asking.of(msgspec.structs.replace(asking.vendor, explain=explain))
        failed = await asking.failed(answer(400))
        assert failed.problem.message.startswith("bad key  [31m…  xxx")
        assert len(failed.problem.message) <= 400


class TestAnswers:
    """What is no answer."""

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"", "no JSON"),
            (b"<html>Sign in</html>", "no JSON"),
            (b'{"value": 7', "no JSON"),
            (b'{"value": 7} trailing', "no JSON"),
            (b'{"value": NaN}', "NaN"),
            (b'{"value": -Infinity}', "-Infinity"),
            (b'{"value": 1, "value": 2}', "'value' twice"),
            (b'{"value": 1, "more": [{"a": 1, "\\u0061": 2}]}', "'a' twice"),
            (b'{"value": "7"}', r"`float`, got `str` - at `$.value`"),
            (b'{"text": "7"}', "missing required field `value`"),
            (b"[7]", "another shape"),
            (b'{"value": \xff}', "not UTF-8 at byte 10"),
            (b'\xef\xbb\xbf{"value": 7}', "no JSON"),
            (b'{"value": 7, "x": ' + b"[" * 200_000, "nested too deeply"),
            (b'{"value": 7, "x": ' + b"9" * 10_000 + b"}", "too many digits"),
        ],
        ids=lambda value: repr(value[:24]),
    )
    async def test_that_is_said_with_what_is_wrong(self, asking: Asking, body: bytes, said: str) -> None:
        """And not asked for again: it would be the same."""
        failed = await asking.failed(answer(200, body))
        assert failed.problem.kind is ProblemKind.BAD_ANSWER
        assert said in failed.problem.message
        assert len(asking.receiver.requests) == 1

    async def test_one_of_too_many_values_is_too_large(self, asking: Asking) -> None:
        """Brackets and commas unfold to many times their size."""
        body = b'{"value": 7, "x": [' + b"0," * VALUES_MAX + b"0]}"
        failed = await asking.failed(answer(200, body))
        assert isinstance(failed, AnswerTooLarge)

    async def test_unknown_fields_are_left_out(self, asking: Asking) -> None:
        """Vendors add some now and then."""
        asking.receiver.script = [answer(200, '{"value": 7, "new": {"deep": [1, null]}}')]
        assert await asking.http.get("/value", Value) == Value(7)


@pytest.mark.parametrize(
    ("skew_s", "said"),
    [(0, ""), (59, ""), (-59, ""), (420, "420 s ahead of this server's"), (-7_200, "7200 s behind this server's")],
)
async def test_a_vendors_clock_that_is_off_is_noted(asking: Asking, skew_s: int, said: str) -> None:
    """From a minute on."""
    date = formatdate(asking.clock.now_us() / 1e6 + skew_s, usegmt=True)
    asking.receiver.script = [answer(200, '{"value": 7}', headers={"Date": date})]
    await asking.http.get("/value", Value)
    assert said in asking.http.clock_note()
    assert bool(said) == bool(asking.http.clock_note())
