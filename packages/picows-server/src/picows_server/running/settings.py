"""``RunSettings``: the arguments of ``run``, checked, and made into objects where they are used."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import pickle
import ssl
import sys
from collections import abc
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from picows_codec import WSInvalidOptionError
from picows_server.asgi.application import asgi_listener
from picows_server.draining import DrainPlan
from picows_server.hosting import HostedApplication
from picows_server.logs import Logger, resolve_logger
from picows_server.routing import takes_scope
from picows_server.running.import_strings import import_object, split_import_string
from picows_server.running.loops import LoopChoice, check_loop
from picows_server.tls import create_ssl_context
from picows_server.url import parse_server_url

__all__ = ["RunSettings", "check_importable", "configure_logging", "options_of", "resolve_settings"]

_LEVELS = ("critical", "error", "warning", "info", "debug")
_INSTEAD_OF_A_MAPPING = "; write the import string of the mapping instead of the mapping"
_FORMAT = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"


@dataclass(frozen=True)
class RunSettings:
    """What ``run`` and the command line say; see :func:`picows_server.run`.

    They pass to worker processes by pickle, if :func:`check_importable` says nothing against it.
    """

    url: str
    #: Listener factory, mapping of paths, ASGI application, or an import string of one.
    factory_or_routes: Any = None
    #: Instead of that, the coroutine function of ``serve``, or its import string.
    handler: Any = None
    #: A function that returns an async context manager, or its import string.
    lifespan: Any = None
    drain: DrainPlan = field(default_factory=lambda: DrainPlan(prefix="drain_"))
    #: A context, a mapping of names to contexts, a function that makes one of these, or its import
    #: string.
    ssl_context: Any = None
    #: The files of the command line: certificates and their key, instead of ``ssl_context``.
    certificate: Optional[Tuple[str, Optional[str]]] = None
    #: What else ``ws_create_server`` or ``serve`` takes.
    server_options: Mapping[str, Any] = field(default_factory=dict)
    loop: LoopChoice = "auto"
    log_level: Optional[str] = None
    #: Instead of ``log_level``: a JSON file with what ``logging.config.dictConfig`` takes.
    log_config: Optional[str] = None
    #: Comes first in ``sys.path`` when import strings are imported.
    app_dir: Optional[str] = None
    #: What errors call these arguments, where that is not their name: on the command line.
    shown_as: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Check what can be checked before anything is imported."""
        parse_server_url(self.url)
        check_loop(self.loop)
        if self.log_level is not None and self.log_level not in _LEVELS:
            raise WSInvalidOptionError(
                f"log_level must be one of {', '.join(_LEVELS)}, not {self.log_level!r}"
            )
        if (self.factory_or_routes is None) == (self.handler is None):
            given = "neither of them is" if self.handler is None else "both are"
            raise WSInvalidOptionError(
                "pass either factory_or_routes or handler, the coroutine function of serve():"
                f" {given} there"
            )
        for name in ("factory_or_routes", "handler", "lifespan", "ssl_context"):
            value = getattr(self, name)
            if isinstance(value, str):
                split_import_string(self.shown_as.get(name, name), value)
        if isinstance(self.factory_or_routes, abc.Mapping):
            for path, value in self.factory_or_routes.items():
                if isinstance(value, str):
                    split_import_string(f"the path {path!r}", value, "; a file is page(path)")
        if self.lifespan is not None and not isinstance(self.lifespan, str):
            _check_lifespan(self.lifespan)
        if self.certificate is not None and self.ssl_context is not None:
            raise WSInvalidOptionError("certificate and ssl_context exclude each other")

    @property
    def logger(self) -> Logger:
        """The logger of the server."""
        return resolve_logger(self.server_options.get("logger_name"))


def configure_logging(settings: RunSettings) -> None:
    """Write logs as ``log_config`` says, else to standard error from ``log_level`` on, if any.

    Each process does so for itself. With ``log_level`` a configuration that the program has made
    already stays. Raises :class:`WSInvalidOptionError` for a file that is no configuration.
    """
    if settings.log_config is not None:
        _extend_search_path(settings)  # it may name classes of the application
        _load_log_config(settings.log_config)
    elif settings.log_level is not None:
        logging.basicConfig(level=settings.log_level.upper(), format=_FORMAT)


def _load_log_config(path: str) -> None:
    from logging.config import dictConfig  # noqa: PLC0415 - for those who use it

    try:
        with open(path, "rb") as file:
            # Loggers that the program has made keep writing, unless the file says otherwise.
            dictConfig({"disable_existing_loggers": False, **json.load(file)})
    except (OSError, TypeError, ValueError, AttributeError, ImportError) as error:
        cause = "" if error.__cause__ is None else f" ({error.__cause__})"
        raise WSInvalidOptionError(
            f"log_config: {path!r} is no JSON file for logging.config.dictConfig: {error}{cause}"
        ) from error


def _extend_search_path(settings: RunSettings) -> None:
    if settings.app_dir is not None and settings.app_dir not in sys.path:
        sys.path.insert(0, settings.app_dir)


def resolve_settings(settings: RunSettings) -> RunSettings:
    """Return the settings with objects in the place of import strings and of ``certificate``.

    Functions that make TLS contexts are called; ASGI applications are wrapped. For the process that
    serves. Raises :class:`WSInvalidOptionError` for what cannot be found, and what the modules
    raise.
    """
    _extend_search_path(settings)
    routing = _imported_argument(settings, "factory_or_routes")
    if isinstance(routing, abc.Mapping):
        routing = {
            path: _served(_imported(f"the path {path!r}", value)) for path, value in routing.items()
        }
    else:
        routing = _served(routing)
    lifespan = _imported_argument(settings, "lifespan")
    if lifespan is not None:
        lifespan = _checked_lifespan(lifespan)
    context = _imported_argument(settings, "ssl_context")
    if settings.certificate is not None:
        context = create_ssl_context(*settings.certificate)
    elif callable(context) and not isinstance(context, (ssl.SSLContext, abc.Mapping)):
        context = context()
    return replace(
        settings,
        factory_or_routes=routing,
        handler=_imported_argument(settings, "handler"),
        lifespan=lifespan,
        ssl_context=context,
        certificate=None,
    )


def _imported_argument(settings: RunSettings, name: str) -> Any:
    return _imported(settings.shown_as.get(name, name), getattr(settings, name))


def _imported(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = import_object(name, value)
    if isinstance(found, str):  # which would be taken for another import string
        raise WSInvalidOptionError(f"{name} is {value!r}, which is a str: {found!r}")
    return found


def _served(value: Any) -> Any:
    """Serve an ASGI application without further words, as ASGI servers do."""
    if isinstance(value, (type, HostedApplication)) or not takes_scope(value):
        return value
    return asgi_listener(value)


def _checked_lifespan(lifespan: Any) -> Any:
    _check_lifespan(lifespan)
    if inspect.isasyncgenfunction(lifespan):
        return contextlib.asynccontextmanager(lifespan)
    return lifespan


def _check_lifespan(lifespan: Any) -> None:
    wanted = (
        "lifespan must be a function without arguments, or with one (the server), that returns an"
        " async context manager, such as one with @contextlib.asynccontextmanager"
    )
    is_result = hasattr(lifespan, "__aenter__") and not isinstance(lifespan, type)
    if is_result or not callable(lifespan):  # a result may be callable, to decorate functions
        advice = "; pass the function, not its result" if is_result else ""
        raise TypeError(f"{wanted}, not {lifespan!r}{advice}")
    if inspect.iscoroutinefunction(lifespan):
        raise TypeError(f"{wanted}, not a coroutine function: {lifespan!r}")
    for count in (0, 1):
        with contextlib.suppress(TypeError, ValueError):
            inspect.signature(lifespan).bind(*[None] * count)
            return
    raise TypeError(f"{wanted}, not {lifespan!r}")


def check_importable(settings: RunSettings) -> None:
    """Check that other processes can have the settings: several workers need that.

    Raises :class:`WSInvalidOptionError` for an object that a new process could not import or make.
    """
    routing = settings.factory_or_routes
    if isinstance(routing, abc.Mapping):
        for path, value in routing.items():
            _check_object(f"the path {path!r}", value, _INSTEAD_OF_A_MAPPING)
    elif routing is not None:
        _check_object("factory_or_routes", routing)
    if settings.handler is not None:
        _check_object("handler", settings.handler)
    if settings.lifespan is not None:
        _check_object("lifespan", settings.lifespan)
    if settings.ssl_context is not None:
        _check_context(settings.ssl_context)
    if not isinstance(settings.loop, str):
        _check_object("loop", settings.loop)
    for name, value in settings.server_options.items():
        _check_option(name, value)


def _check_context(context: Any) -> None:
    if isinstance(context, (ssl.SSLContext, abc.Mapping)):
        raise WSInvalidOptionError(
            "ssl_context: a TLS context cannot be passed to other processes, so with several"
            " workers it must be a function at the top of a module that makes it, or the import"
            " string of one"
        )
    _check_object("ssl_context", context)


def _check_option(name: str, value: Any) -> None:
    if name == "sock":
        return  # the supervisor has them, and passes them on
    try:
        pickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - whatever an object raises
        raise WSInvalidOptionError(
            f"{name} cannot be passed to other processes, which several workers need: {error}"
        ) from None


def _check_object(name: str, value: Any, advice: str = "") -> None:
    if isinstance(value, str):
        return
    module = getattr(value, "__module__", None)
    path = getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(path, str) and module in sys.modules:
        found: Any = sys.modules[module]
        for attribute in path.split("."):
            found = getattr(found, attribute, None)
        if found is value:
            return
    raise WSInvalidOptionError(
        f"{name}: with several workers each process makes its own objects, so this must be a class"
        f" or a function at the top of a module, or an import string ('module:attribute'), not"
        f" {value!r}{advice}"
    )


def options_of(settings: RunSettings, *, has_sockets: bool) -> Dict[str, Any]:
    """Return the options for the server; with sockets, without other places to listen."""
    options = {**settings.server_options, "ssl_context": settings.ssl_context}
    if has_sockets:
        for name in ("unix_path", "reuse_address", "reuse_port", "sock"):
            options.pop(name, None)
    return options
