"""The line that installs what is missing, from where the program came: a checkout, wheels, an index."""

import json
import re
import shlex
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PROGRAM = "scalpdesk"


def install_line(target: str, program: Distribution | None = None) -> str:
    """Return the command that installs a part or an extra of the program.

    ``target``: As ``scalpdesk[alpaca]``, or a part's own name.
    ``program``: How the program is installed; None asks the interpreter.
    """
    with suppress(PackageNotFoundError):
        program = program or distribution(_PROGRAM)
    command = "pip install" if find_spec("pip") else "uv pip install"  # uv makes environments without pip
    parts, place = _parts_of(target, program), _place(program)
    if parts and place is not None and place.is_dir():
        folders = [place / "parts" / part.removeprefix(f"{_PROGRAM}-") for part in parts]
        if all(folder.is_dir() for folder in folders):
            own = " ".join(f"-e {shlex.quote(str(folder))}" for folder in folders)
            return f"{command} {own}" + ("" if target in parts else f' "{target}"')
    if parts and place is not None and place.suffix == ".whl":
        return f'{command} --find-links {shlex.quote(str(place.parent))} "{target}"'
    return f'{command} "{target}"'


def _parts_of(target: str, program: Distribution | None) -> list[str]:
    """Return the parts that a target needs: packages of this program, which no index need have."""
    name, _, extra = target.rstrip("]").partition("[")
    if name != _PROGRAM:
        return [name] if name.startswith(f"{_PROGRAM}-") else []
    lines = [] if program is None else program.requires or []
    marked = [line for line in lines if re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", line)]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in marked]
    return [each for each in names if each.startswith(f"{_PROGRAM}-")]


def _place(program: Distribution | None) -> Path | None:
    """Return the folder or the wheel that the program was installed from; None from an index."""
    with suppress(ValueError, KeyError):
        url = urlsplit(json.loads(_text(program, "direct_url.json"))["url"])
        return Path(unquote(url.path)) if url.scheme == "file" else None
    return None


def _text(program: Distribution | None, name: str) -> str:
    return "" if program is None else program.read_text(name) or ""
