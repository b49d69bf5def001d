"""Numbers of the C-level API, and the check that every compiled user of it makes when imported.

Every public ``.pxd`` file cimports ``abi.pxd``, which declares a class of this module. The name of
the class says what an extension was compiled against. Cython's import code looks the class up
before it uses anything else of the codec, so :func:`__getattr__` runs first.

An extension that was compiled against another ``ABI_EPOCH`` does not run. ``ABI_LEVEL`` counts the
additions within the epoch; an extension that was compiled against a higher level does not run.
``tools/abi.py`` says when to raise which, and writes ``abi.pxd`` and ``LAYOUTS``.
"""

from __future__ import annotations

import re
from typing import Type

from picows_codec._version import __version__

ABI_EPOCH = 1
ABI_LEVEL = 1
# The digest of the manifest at each level of this epoch. It tells a level from a build of changed
# sources that claims to be that level.
LAYOUTS = ("f8a37122c64e",)

_COMPILED = re.compile(r"epoch_(\d+)_level_(\d+)_layout_([0-9a-f]+)_version_(\w+)")


def __getattr__(name: str) -> Type[object]:
    compiled = _COMPILED.fullmatch(name)
    if compiled is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    epoch, level, layout = int(compiled[1]), int(compiled[2]), compiled[3]
    version = compiled[4].replace("_", ".")
    if epoch == ABI_EPOCH and level <= ABI_LEVEL and layout == LAYOUTS[level - 1]:
        return object
    if version == __version__:
        fix = "the two were built from different sources of it; compile the extension again"
    elif epoch != ABI_EPOCH:
        fix = f"compile it again, or {_install(version)}"
    elif level > ABI_LEVEL:
        fix = _install(version)
    else:
        fix = f"its structs or methods lie elsewhere; compile it again, or {_install(version)}"
    raise ImportError(
        f"an extension that was compiled against picows-codec {version} (C API epoch {epoch},"
        f" level {level}) cannot run on picows-codec {__version__} (epoch {ABI_EPOCH}, level"
        f" {ABI_LEVEL}): {fix}"
    )


def _install(version: str) -> str:
    return f"pip install 'picows-codec>={version},<{int(version.partition('.')[0]) + 1}'"
