"""The user's script in a worker, and settings that refer to what it defines.

A worker is a new interpreter. Settings travel as names of what they refer to, so that the worker
imports it. What the script itself defines has the module name ``__main__``: the worker runs the
script as ``__mp_main__``, as :mod:`multiprocessing` does, so that ``if __name__ == "__main__":``
leaves out what is not for workers.
"""

from __future__ import annotations

import io
import os
import pickle
import runpy
import sys
import types
from contextvars import ContextVar
from typing import Any, Optional, Tuple

from picows_codec import WSInvalidOptionError

__all__ = ["check_not_in_worker", "import_main_module", "pickle_settings"]

_NAME_IN_WORKERS = "__mp_main__"

_is_importing: ContextVar[bool] = ContextVar("_is_importing", default=False)


def pickle_settings(settings: object) -> Tuple[bytes, Optional[Tuple[str, str]]]:
    """Return the settings as bytes, and which script a worker has to run before it reads them.

    Raises :class:`WSInvalidOptionError` for what a worker could not import.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    try:
        pickler.dump(settings)
    except Exception as error:
        raise WSInvalidOptionError(
            "with several workers, which are new processes, all options must be importable or plain"
            f" values: {error}"
        ) from error
    data = buffer.getvalue()
    needs_main = pickler.needs_main or b"__main__:" in data  # an import string
    return data, _main_module() if needs_main else None


class _Pickler(pickle.Pickler):
    needs_main = False

    def reducer_override(self, obj: Any) -> Any:
        # Called for classes and functions, and for instances before their class.
        if getattr(obj, "__module__", None) == "__main__":
            self.needs_main = True
        return NotImplemented


def _main_module() -> Tuple[str, str]:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name != "__main__":  # the name for a directory or an archive
        return "name", spec.name
    path = getattr(main, "__file__", None)
    if path is None or not os.path.exists(path):
        raise WSInvalidOptionError(
            "workers cannot import what was defined in an interactive session, or in __main__.py of"
            " an archive; put it into a module"
        )
    return "path", os.path.abspath(path)


def check_not_in_worker() -> None:
    """Raise :class:`RuntimeError` if a worker is running the script, which would never end."""
    if _is_importing.get():
        raise RuntimeError(
            "a worker imports this script, and the script starts workers; put that below"
            ' if __name__ == "__main__":'
        )


def import_main_module(kind: str, which: str) -> None:
    """Run the user's script, without its part for ``__main__``."""
    module = types.ModuleType(_NAME_IN_WORKERS)
    token = _is_importing.set(True)
    try:
        if kind == "name":
            content = runpy.run_module(which, run_name=_NAME_IN_WORKERS, alter_sys=True)
        else:
            content = runpy.run_path(which, run_name=_NAME_IN_WORKERS)
    finally:
        _is_importing.reset(token)
    module.__dict__.update(content)
    sys.modules["__main__"] = sys.modules[_NAME_IN_WORKERS] = module
