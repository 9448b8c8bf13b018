"""Writes plurality/__init__.pyi: what an editor and a type checker know of `import plurality`.

The names come from the package itself (`plurality._HOME`, families by scanning), so that no list is kept by hand.
Run it with --check to be told, by exit status 1, that the file is out of date.
"""

import sys
from pathlib import Path

import plurality

STUB = Path(plurality.__file__).with_name("__init__.pyi")


def stub() -> str:
    """The text of the stub: each public name imported from its home, as itself."""
    lines = [f"from {home} import {name} as {name}" for name, home in plurality._HOME.items()]
    head = '"""Written by tools/stubs.py; do not edit."""\n\n'
    return f"{head}{chr(10).join(sorted(lines))}\n\n__version__: str\n"


def main() -> int:
    """Write the stub, or say that it is out of date."""
    current = STUB.read_text(encoding="utf-8") if STUB.is_file() else ""
    if current != stub():
        if "--check" in sys.argv:
            sys.stderr.write(f"{STUB.name} is out of date; run `make stubs`\n")
            return 1
        STUB.write_text(stub(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
