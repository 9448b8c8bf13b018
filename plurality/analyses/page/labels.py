"""Words of a page in other languages, as a file has them."""

import tomllib
from pathlib import Path

from plurality.analyses.page.explorer import Labels, checked_labels
from plurality.errors import InputError
from plurality.io.causes import unreadable
from plurality.io.paths import expanded

__all__ = ["read_labels"]


def read_labels(path: str | Path) -> Labels:
    """Labels of a TOML file with a table for each language: `[de]` and below it `age = "Alter"`.

    Raises InputError for a file that cannot be read or holds something else.

    path    file to read
    """
    path = expanded(path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: no TOML ({error}); write [de] and below it age = "Alter"') from None
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        return checked_labels(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
