"""How what came from elsewhere is shown."""

from adapters.driven.actions.shown import masked, shown, target_name


def test_control_characters_are_not_shown() -> None:
    """A terminal must not obey them, nor a reader be misled by text that runs backwards."""
    assert shown("a\x1b[31mb\x00\u202ec\nd\te", chars_max=100) == "a�[31mb��c\nd\te"


def test_a_long_text_is_cut_off() -> None:
    """And says by how much."""
    assert shown("x" * 15, chars_max=10) == "xxxxxxxxxx… (5 more characters)"


def test_secrets_are_masked_in_each_spelling() -> None:
    """An answer may echo them as JSON or in a URL."""
    secrets = {"a": 's"e/c', "b": 's"e/c-longer', "c": "é"}
    said = 'raw s"e/c, json s\\"e/c, url s%22e%2Fc, the longer s"e/c-longer, \\u00e9 é'
    assert masked(said, secrets) == "raw …, json …, url …, the longer …, … …"
    assert masked("nothing", {}) == "nothing"


def test_a_target_has_a_bounded_name() -> None:
    """Long ones stay apart."""
    assert target_name("kubernetes:shop/checkout") == "kubernetes:shop/checkout"
    long, other = target_name("x" * 5_000 + "a"), target_name("x" * 5_000 + "b")
    assert len(long) < 200
    assert long != other
    assert target_name("x" * 5_000 + "a") == long
    assert "\n" not in target_name("command:a\nb")
