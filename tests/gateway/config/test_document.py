"""YAML becomes a tree with lines and exact numbers; whatever else it may be, it is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway.config.document import DEPTH_MAX, TEXT_BYTES_MAX, parse
from gateway.config.problems import ConfigError, Place


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "t.yaml")
    return str(caught.value)


def test_numbers_keep_the_digits_they_were_written_with() -> None:
    tree = parse("{a: 0.60, b: 1e-6, c: .5, d: 7, e: 1_000, f: 0x10, g: -3, h: 010, i: 2.}", "t.yaml").tree
    assert tree == {
        "a": Decimal("0.60"),
        "b": Decimal("0.000001"),
        "c": Decimal("0.5"),
        "d": 7,
        "e": 1000,
        "f": 16,
        "g": -3,
        "h": 10,
        "i": Decimal(2),
    }
    assert str(tree["a"]) == "0.60"
    assert not any(isinstance(value, float) for value in tree.values())


def test_words_that_older_yaml_bends_stay_words() -> None:
    tree = parse("a: [no, on, yes, 12:30, 2026-01-01, 1.2.3, '5', +x, -x]", "t.yaml").tree
    assert tree["a"] == ["no", "on", "yes", "12:30", "2026-01-01", "1.2.3", "5", "+x", "-x"]


def test_truth_and_nothing() -> None:
    assert parse("a: [true, False, null, ~]\nb:", "t.yaml").tree == {"a": [True, False, None, None], "b": None}


def test_each_value_knows_the_line_of_its_key() -> None:
    document = parse("a: 1\n\nb:\n  c:\n    - 1\n    - {d: 2}\n", "t.yaml", Path("/etc"))
    assert [str(document.place(path)) for path in (("a",), ("b",), ("b", "c"), ("b", "c", 1, "d"))] == [
        "t.yaml:1",
        "t.yaml:3",
        "t.yaml:4",
        "t.yaml:6",
    ]
    assert document.place(("b", "absent")) == Place("t.yaml", 3, Path("/etc"))


def test_an_empty_file_is_an_empty_document() -> None:
    assert parse("", "t.yaml").tree == {}
    assert parse("# nothing\n", "t.yaml").tree == {}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("{4: a, true: b, null: c}", "t.yaml").tree == {"4": "a", "true": "b", "null": "c"}


def test_anchors_and_merges_are_followed_and_an_own_key_wins() -> None:
    tree = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}", "t.yaml").tree
    assert tree["b"] == {"y": 3, "x": 1}
    assert tree["c"] == {"x": 1, "y": 2, "z": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "t.yaml:3: a is written twice; keep one of them"),
        ("a:\n  b: 1\n  b: 1", "t.yaml:3: a.b is written twice; keep one of them"),
        ("- 1", "t.yaml:1: the file must hold keys and values"),
        ("just words", "t.yaml:1: the file must hold keys and values"),
        ("a: [1\nb: 2", "t.yaml:2: is not valid YAML"),
        ("a: 1\n---\nb: 2", "t.yaml:2: is not valid YAML"),
        ("a: *gone", "t.yaml:1: is not valid YAML: found undefined alias a name"),
        ("? [a, b]\n: 1", "has a key that is not a word"),
        ("a: .inf", "t.yaml:1: a is not a number"),
        ("a: .nan", "t.yaml:1: a is not a number"),
        (f"a: {'9' * 41}", "t.yaml:1: a is not a number of at most 40 digits"),
        ("a: 1e999999999", "t.yaml:1: a is not a number"),
        ("a: !!python/object/apply:os.system [x]", "t.yaml:1: a carries a YAML tag that has no meaning here"),
        ("a: !secret x", "t.yaml:1: a carries a YAML tag that has no meaning here"),
        ("a: !!int x", "t.yaml:1: a is not a number"),
        ("a: !!bool maybe", "t.yaml:1: a carries a YAML tag that does not fit it"),
        ("a: !!timestamp 2026-01-01", "t.yaml:1: a carries a YAML tag that does not fit it"),
        ('a: "\\0"', "t.yaml:1: a holds a character"),
        ('a: "\\ud800"', "t.yaml:1: a holds a character"),
        ('a: "\\UFFFFFFFF"', "is not valid YAML: an escape or a number in it stands for nothing"),
        ("a: {<<: 3}", "t.yaml:1: a merges (`<<`) something that is not a mapping"),
        ("a: &a [*a]", "repeats itself too often through aliases"),
        ("a: &a {<<: *a}", "repeats itself too often through aliases"),
        ("[" * 1000, f"is nested deeper than {DEPTH_MAX}"),
        ("{a: " * 1000, f"is nested deeper than {DEPTH_MAX}"),
        ("a: \x01", "is not valid YAML"),
    ],
)
def test_what_is_no_plain_tree_is_refused_with_its_line(text: str, message: str) -> None:
    assert message in refusal(text)


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "repeats itself too often" in refusal("\n".join(lines))


def test_merges_that_multiply_are_refused_too() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    assert "repeats itself too often" in refusal("\n".join(lines))


def test_a_huge_file_is_refused_unread() -> None:
    assert "is longer than" in refusal("#" * (TEXT_BYTES_MAX + 1))


def test_a_syntax_error_does_not_repeat_what_may_be_a_secret() -> None:
    assert "hunter2" not in refusal("auth: {admin_key: *hunter2}")
    assert "hunter2" not in refusal("auth: {admin_key: %hunter2}")
    assert "hunter2" not in refusal("auth: {admin_key: !hunter2! x}")
