"""Looks into a wheel and imports the package from it alone: `python tools/check_wheel.py dist/*.whl`."""

import subprocess
import sys
import zipfile
from pathlib import Path

NEEDED = {"plurality/__init__.py", "plurality/__init__.pyi", "plurality/py.typed"}


def main() -> int:
    """Exit status 1, and what is wrong, where the wheel lacks a file or holds another folder."""
    wheel = Path(sys.argv[1]).resolve()
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if NEEDED - names or folders != {"plurality"}:
        sys.stderr.write(f"{wheel.name}: lacks {sorted(NEEDED - names)}, holds {sorted(folders)}\n")
        return 1
    # a wheel of pure Python can be imported as it is; elsewhere, so that the folder beside it is not taken instead
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import plurality; print(plurality.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=wheel.parent)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return int(done.returncode != 0 or str(wheel) not in done.stdout)


if __name__ == "__main__":
    sys.exit(main())
