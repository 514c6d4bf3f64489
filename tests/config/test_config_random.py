"""Whatever stands in a config, it is read or refused in words."""

import json

from config_texts import FULL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.config.load import RunConfig, load_config
from pipeline.model.errors import PipelineError

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["3", "8 um", "30 s", "tyx", "0:5", "::", "-", "1e5 um", "9e999 um",
                     "input", "tcp://", "a; b", "~x", "${A}"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*"tczyxq", "slurm", "sigma", ""]), inner, max_size=3)
    ),
    max_leaves=5,
)


def paths_of(data, path=()):
    yield path
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from paths_of(value, (*path, key))


BASE = YAML(typ="safe", pure=True).load(FULL)
PLACES = [path for path in paths_of(BASE) if path]
TREES = HealthCheck.too_slow


def mutated(path, value, rename):
    data = json.loads(json.dumps(BASE))
    inside = data
    for key in path[:-1]:
        inside = inside[key]
    if rename is not None and isinstance(inside, dict):
        inside[rename] = inside.pop(path[-1])
    else:
        inside[path[-1]] = value
    return data


@settings(max_examples=400, deadline=None, suppress_health_check=[TREES])
@given(st.sampled_from(PLACES), VALUES, st.none() | st.text(max_size=5))
def test_a_config_with_a_random_change_is_read_or_refused_in_words(path, value, rename):
    try:
        config = load_config(mutated(path, value, rename))
    except PipelineError as error:
        for problem in error.problems:
            assert problem.message
            assert "\n" not in str(problem)
    else:
        assert isinstance(config, RunConfig)
        assert load_config(json.loads(json.dumps(config.resolved()))) == config


@settings(max_examples=300, deadline=None, suppress_health_check=[TREES, HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, len(FULL) - 1),
    st.integers(0, 6),
    st.text(st.sampled_from("{}[]:,-&*!|>'\"%@`#? \n\t\0ab10.~é\ud800"), max_size=4),
)
def test_a_file_with_random_damage_is_read_or_refused_in_words(tmp_path, at, length, text):
    path = tmp_path / "damaged.yaml"
    path.write_bytes((FULL[:at] + text + FULL[at + length :]).encode("utf-8", "surrogatepass"))
    try:
        config = load_config(path)
    except PipelineError as error:
        for problem in error.problems:
            assert problem.file == str(path) or problem.field
            assert "\n" not in str(problem)
            assert problem.line is None or 1 <= problem.line <= FULL.count("\n") + 6
    else:
        path.write_text(config.to_yaml(), encoding="utf-8")
        assert load_config(path) == config


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([".".join(map(str, path)) for path in PLACES]) | st.text(max_size=12),
    st.text(max_size=12),
)
def test_a_random_change_is_made_or_refused_in_words(tmp_path, field, value):
    path = tmp_path / "run.yaml"
    path.write_text(FULL, encoding="utf-8")
    try:
        config = load_config(path, sets=[f"{field}={value}"])
    except PipelineError as error:
        for problem in error.problems:
            assert "\n" not in str(problem)
    else:
        assert isinstance(config, RunConfig)
