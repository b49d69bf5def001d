"""Compare what is written from the table of options with that table, or write it.

    python tools/options.py            compare; fail with the names of files that differ
    python tools/options.py --write    write them

The table is option_table.py in the codec. From it come the class WSOptions with its fields and
stubs, the type of ``**options`` (option_types.py), and the table in the guide.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Any, Dict, List, Sequence

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "packages" / "picows-codec" / "src"
ROOM = SOURCE / "picows_codec"
GUIDE = ROOT / "docs" / "guide" / "options.md"

C_TYPES = {
    "Deflate": "object",
    "Flag": "bint",
    "Number": "Py_ssize_t",
    "Seconds": "double",
    "Strategy": "object",
    "Tap": "object",
}
KEPT_TYPES = {"bint": "bool", "Py_ssize_t": "int", "double": "float"}

PXD = '''\
"""Options of one endpoint, validated once and read from C afterwards. Private tier.

Written by tools/options.py from option_table.py.
"""


cdef class WSOptions:
{fields}
'''

PYX = '''\
# cython: auto_pickle=False
"""Options of one endpoint, in fields that are read from C.

Written by tools/options.py from option_table.py.
"""

cimport cython

from picows_codec.option_table import OPTIONS, checked_options

__all__ = ["WSOptions"]

cdef tuple _NAMES = tuple([option.name for option in OPTIONS])


@cython.final
cdef class WSOptions:
    """Options of one WebSocket endpoint, client or server; read-only.

    All are keyword arguments. A value outside its range raises :exc:`WSInvalidOptionError`
    that names the option, the value and the range; a wrong type and an unknown name raise
    :exc:`TypeError`. The defaults are those of a client; where ``ws_create_server`` has
    another, it stands beside.

{descriptions}
    """

    def __init__(self, **options):
        cdef dict values = checked_options(options)
{assignments}

    @staticmethod
    def names():
        """The names of all options, in the order of the table above."""
        return _NAMES

    def __repr__(self):
        options = ", ".join([f"{{name}}={{getattr(self, name)!r}}" for name in _NAMES])
        return f"WSOptions({{options}})"
'''

PYI = """\
# Written by tools/options.py from option_table.py.
from typing import final

from typing_extensions import Unpack

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.deflate.parameters import WSPermessageDeflate
from picows_codec.option_types import WSConnectionOptions
from picows_codec.tap_types import AnyTap

__all__ = ["WSOptions"]

@final
class WSOptions:
{properties}
    def __init__(self, **options: Unpack[WSConnectionOptions]) -> None: ...
    @staticmethod
    def names() -> tuple[str, ...]: ...
"""

TYPES = '''\
"""The type of ``**options`` of ``ws_connect`` and ``ws_create_server``, for type checkers.

Written by tools/options.py from option_table.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, TypedDict, Union

from picows_codec.constants import WSAutoPingStrategy

if TYPE_CHECKING:
    from picows_codec.deflate.parameters import WSPermessageDeflate
    from picows_codec.tap_types import AnyTap

__all__ = ["WSConnectionOptions"]


class WSConnectionOptions(TypedDict, total=False):
    """Options of a connection, for a function of your own that passes them on.

    ``def connect(url: str, **options: Unpack[WSConnectionOptions])``, where ``Unpack`` is that of
    typing (Python 3.11) or of typing_extensions.
    """

{entries}
'''

START = "<!-- Written by tools/options.py from option_table.py. -->\n"
END = "<!-- End of what is written by tools/options.py. -->\n"
HEAD = "| option | default | what it does | memory | speed |\n|---|---|---|---|---|\n"


def main(arguments: List[str]) -> None:
    """Compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring everything up to date")
    options = parser.parse_args(arguments)
    texts = generated(table_of(SOURCE))
    differing = [path for path, text in texts.items() if path.read_text("utf-8") != text]
    if options.write:
        for path in differing:
            path.write_text(texts[path], "utf-8")
        return
    if differing:
        names = ", ".join(str(path.relative_to(ROOT)) for path in differing)
        sys.exit(f"not what option_table.py says: {names} (python tools/options.py --write)")
    print("everything is what option_table.py says")


def table_of(source: Path) -> Sequence[Any]:
    """Import the table of the sources, and from the installed codec what is compiled.

    Without the package's ``__init__``, which cannot be imported while the two differ.
    """
    installed = importlib.util.find_spec("picows_codec")
    if installed is None:
        sys.exit("picows_codec is not installed")
    package = ModuleType("picows_codec")
    places = installed.submodule_search_locations or ()
    package.__path__ = [str(source / "picows_codec"), *places]
    sys.modules["picows_codec"] = package
    rows: Sequence[Any] = importlib.import_module("picows_codec.option_table").OPTIONS
    return rows


def generated(rows: Sequence[Any]) -> Dict[Path, str]:
    """Return the files and their contents."""
    return {
        ROOM / "options.pxd": PXD.format(fields=lines("    cdef readonly {c_type} {name}", rows)),
        ROOM / "options.pyx": PYX.format(
            descriptions=lines("{description}", rows),
            assignments=lines('        self.{name} = values["{name}"]', rows),
        ),
        ROOM / "options.pyi": PYI.format(
            properties=lines("    @property\n    def {name}(self) -> {kept_type}: ...", rows)
        ),
        ROOM / "option_types.py": TYPES.format(
            entries=lines("    {name}: {type}\n{attribute}", rows)
        ),
        GUIDE: guide(rows),
    }


def lines(template: str, rows: Sequence[Any]) -> str:
    """Fill a template with each row."""
    return "\n".join(template.format(**fields(row)) for row in rows)


def fields(row: Any) -> Dict[str, str]:
    """Return what a template can use."""
    check = row.check
    # A C number cannot be None; WSOptions keeps the value that an optional Number's None means.
    c_type = C_TYPES[type(check).__name__]
    if c_type == "double" and check.is_optional:
        c_type = "object"
    name = getattr(check, "kind_name", None) or check.kind.__name__
    kind = f"Optional[{name}]" if check.is_optional else name
    kept_name = getattr(check, "kept_name", name)
    stub_kind = f"{kept_name} | None" if check.is_optional else kept_name
    text = row.description[0].upper() + row.description[1:]
    return {
        "name": row.name,
        "type": kind,
        "c_type": c_type,
        "kept_type": KEPT_TYPES.get(c_type, stub_kind),
        "description": wrapped(f"``{row.name}`` ({row.default_text}): {row.description}", 8),
        "attribute": wrapped(f'"""{text}. Default: {row.default_text}."""', 4),
    }


def wrapped(text: str, indentation: int) -> str:
    """Wrap a text below the indentation of a class's body."""
    return fill(
        text,
        96,
        initial_indent="    ",
        subsequent_indent=" " * indentation,
        break_on_hyphens=False,
    )


def guide(rows: Sequence[Any]) -> str:
    """Return the guide with its table renewed."""
    before, _, rest = GUIDE.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    table = "".join(
        f"| `{row.name}` | {row.default_text} | {row.description} | {row.memory} | {row.speed} |\n"
        for row in rows
    )
    return f"{before}{START}\n{HEAD}{table.replace('``', '`')}\n{END}{after}"


if __name__ == "__main__":
    main(sys.argv[1:])
