"""Text from outside, such as names of columns, made harmless where it is shown: in a terminal, in HTML, in figures."""

import re
from html import escape

_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(text: str) -> str:
    """The text with control characters written out, as \\x1b, so that they command no terminal and break no XML.

    Line feeds and tabs stay. Marks that turn the direction of writing, halves of surrogate pairs and what is no
    character are written out too.

    text    any text
    """
    return _HARMFUL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def markup(text: str) -> str:
    """The text as HTML shows it, for the inside of an element or of a quoted attribute.

    text    any text
    """
    return escape(visible(text))


def in_script(text: str) -> str:
    """JSON as it stands inside a script element, which it can neither end nor turn into a comment.

    text    JSON, in which these characters stand in strings alone
    """
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
