"""Whatever a file or a variable holds, the answer is settings or a ConfigError that gives no secret away."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.later import KEYS
from gateway.config.load import read
from gateway.config.problems import ConfigError
from gateway.config.schema import Settings

SECRET = "hunter2"
WORDS = sorted(
    {part for key in KEYS for part in key} | set(Settings.model_fields) | {"openai", "chat", "price", "input"}
)
EXAMPLE = """
server: {port: 8080, workers: 1}
providers: {openai: {api_key: env:KEY}, lab: {base_url: 'http://lab.test/v1', headers: {a: b}}}
models: {chat: [{provider: lab, model: m, weight: 3, price: {input: 0.6, output: 0.9}}]}
routing: {fallbacks: {chat: [lab/x]}}
cache: {exact: {ttl_s: 1.5}}
"""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["env:KEY", "env:", "file:", "file:/", "os.environ/X", "http://h/v1", "local", "sqlite://", SECRET]
    ),
)
keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=5))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def shaped(draw: st.DrawFn) -> object:
    """A tree that at least begins with real keys, so that the checks behind the first one are reached too."""
    tree: object = draw(trees)
    for part in reversed(
        draw(st.sampled_from([*KEYS, ("providers", "*"), ("models", "chat"), ("routing", "fallbacks")]))
    ):
        tree = {"lab" if part == "*" else part: tree}
    return tree


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The example with a piece cut out, doubled, or replaced."""
    start = draw(st.integers(0, len(EXAMPLE)))
    end = draw(st.integers(start, min(len(EXAMPLE), start + 12)))
    middle = draw(
        st.one_of(
            st.text(max_size=6), st.just(EXAMPLE[start:end] * 2), st.sampled_from(list("{}[]:,&*!|>%@`#'\"\\\t-?"))
        )
    )
    return EXAMPLE[:start] + middle + EXAMPLE[end:]


def outcome(text: str, environ: Mapping[str, str]) -> str:
    try:
        return repr(read(text, "t.yaml", {"HOME": "/home/ada"} | dict(environ), {"openai": ("OPENAI_API_KEY",)}))
    except ConfigError as error:
        return "\n".join(str(problem) for problem in error.problems)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_loads_or_is_refused(text: str) -> None:
    assert outcome(text, {})


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_any_slip_in_a_good_file_loads_or_is_refused(text: str) -> None:
    assert SECRET not in outcome(text, {"KEY": SECRET})


@settings(max_examples=300, deadline=None)
@given(shaped())
def test_any_tree_loads_or_is_refused(tree: object) -> None:
    # Python's own notation of plain values is YAML's flow notation, near enough to reach every check.
    assert outcome(repr(tree), {"KEY": SECRET})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["SERVER__PORT", "PROVIDERS__LAB__API_KEY", "MODELS", "MODELS__CHAT__0", "A__B", "__", ""]),
    st.text(max_size=40),
)
def test_any_variable_loads_or_is_refused(name: str, value: str) -> None:
    assert outcome(EXAMPLE, {f"TURNPIKE_{name}": value, "KEY": SECRET})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [*KEYS, ("auth", "admin_key"), ("metrics", "token"), ("providers", "*", "api_key"), ("state", "database")]
    ),
    st.text(max_size=20),
)
def test_a_resolved_secret_never_shows(path: tuple[str, ...], tail: str) -> None:
    tree = "env:KEY"
    for part in reversed(path):
        tree = f"{{{'lab' if part == '*' else part}: {tree}}}"
    assert SECRET not in outcome(tree, {"KEY": SECRET + tail})
