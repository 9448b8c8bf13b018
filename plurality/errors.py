"""The one exception that bad input raises, and the one warning it may earn.

A message is one line and says where (file, row, column), what is wrong, and the remedy:
the command line prints it as it stands and leaves with exit code 2.
"""

__all__ = ["InputError", "InputWarning"]


class InputError(ValueError):
    """Input that cannot give a right answer; the message names the place, the cause and the remedy."""


class InputWarning(UserWarning):
    """Input that was usable after a change the reader should know of, such as dropped duplicates."""
