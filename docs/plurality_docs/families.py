"""What a family's page has besides its card: its settings with their defaults, from the spec itself."""

from dataclasses import MISSING, fields

from plurality.models import spec_class


def appendix(name: str) -> str:
    """Settings and reference of the family of this name."""
    cls = spec_class(name)
    rows = []
    for setting in fields(cls):
        default = "" if setting.default is MISSING else repr(setting.default)
        kind = str(getattr(setting.type, "__name__", setting.type)).replace(" | ", " or ")
        rows.append(f"| `{setting.name}` | `{kind}` | `{default}` |")
    table = "\n".join(["| setting | type | default |", "|---|---|---|", *rows])
    return f"""

## Settings

`plurality.{cls.__name__}(...)` in Python, `--set NAME=VALUE` on the command line.

{table}

```{{eval-rst}}
.. autoclass:: plurality.{cls.__name__}
   :no-index:
```
"""
