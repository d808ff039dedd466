"""What becomes of a command's arguments before Hydra reads them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from behavesim.cli import compose, implied_overrides


@pytest.mark.parametrize(
    "name", ["tweets (1).csv", "späte.csv", "a=b.csv", "it's (2).csv", "my tweets.csv", "ü 'x' [1]"]
)
def test_a_file_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.csv").write_text("")
    assert compose("prepare", [f"source={name}.csv", "name=a"]).source == f"{name}.csv"


@given(st.text(min_size=1).filter(lambda text: "$" not in text and "\\" not in text))
def test_what_hydra_cannot_read_is_quoted_and_nothing_else(text):
    [found] = implied_overrides("prepare", [f"source={text}"])
    if found != f"source={text}":
        assert OverridesParser.create().parse_override(found).value() == text


@pytest.mark.parametrize("argument", ["-m", "--help", "optim.lr=1e-3,3e-4", "model.train=[head,llm]", "~seed", "word"])
def test_other_arguments_stay(argument):
    assert implied_overrides("evaluate", [argument]) == [argument]
