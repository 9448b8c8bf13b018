"""Arguments under former names work, and say their new ones."""

import inspect

import pytest

from plurality.deprecation import renamed


@renamed(test="test_size")
def split(by: str, *, test_size: float = 0.2) -> tuple[str, float]:
    """Something with a renamed argument."""
    return by, test_size


def test_a_former_name_works_and_warns():
    with pytest.warns(DeprecationWarning, match="split: test= is now test_size="):
        assert split("item", test=0.5) == ("item", 0.5)
    assert split("item", test_size=0.5) == ("item", 0.5)


def test_both_names_are_an_error():
    with pytest.raises(TypeError, match="give test_size= alone"):
        split("item", test=0.5, test_size=0.5)


def test_the_signature_and_the_docstring_stay():
    assert list(inspect.signature(split).parameters) == ["by", "test_size"]
    assert split.__doc__ == "Something with a renamed argument."
