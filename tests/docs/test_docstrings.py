"""Every public parameter is named in its docstring; `python tests/docs/missing.py` lists those that are not."""

from tests.docs.missing import gaps, named


def test_every_public_parameter_is_named():
    assert gaps() == []


def test_what_counts_as_named():
    assert named("Of `x`, with seed=0 and y (n,).\n\nfirst, second    two sides") >= {
        "x",
        "seed",
        "y",
        "first",
        "second",
    }
    assert "width" not in named("The width of a figure.")
    assert "seed" not in named("Of `x`.\n\n>>> fit(x, seed=0)")
