"""The reference of the documentation, from docstrings and signatures of what is installed.

    python tools/reference.py            check that every public name has its place
    python tools/reference.py DIRECTORY  write the pages (reStructuredText, for Sphinx)

What a compiled module has of signatures and types is in its stub, beside it; docstrings are asked
of the objects. PAGES says which name stands where.
"""

from __future__ import annotations

import ast
import enum
import importlib
import importlib.util
import inspect
import re
import sys
from copy import deepcopy
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from textwrap import indent
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

ROOT = Path(__file__).resolve().parents[1]
PXD = ROOT / "packages" / "picows-codec" / "src" / "picows_codec"

# Modules whose ``__all__`` is public. A name of several is documented in the first.
MODULES = (
    "picows_codec",
    "picows_client",
    "picows_server",
    "picows_codec.testing",
    "picows_codec.recording",
    "picows_codec.simd",
    "picows_client.testing",
    "picows_server.testing",
    "picows_server.asgi",
    "picows_server.topics",
    "picows_server.backplane",
)


class Page(NamedTuple):
    """One page: the names on it, in the order in which a reader wants them."""

    name: str
    title: str
    intro: str
    names: Tuple[str, ...]


PAGES = (
    Page(
        "client",
        "Client",
        "What opens connections: with a listener, with coroutines, and again whenever they end.",
        (
            *("connect", "ws_connect", "ws_keep_connected", "WSLink", "WSLinkState", "WSBackoff"),
            *("is_transient", "WSURL", "WSParsedURL"),
        ),
    ),
    Page(
        "server",
        "Server",
        "What accepts connections, with a listener or a coroutine for each.",
        (
            *("serve", "ws_create_server", "WSServer", "WSServerStats", "create_ssl_context"),
            *("reload_certificate", "watch_certificates", "WSCertificateWatch"),
            *("WSKernelTls", "kernel_tls_of", "run"),
        ),
    ),
    Page(
        "http",
        "HTTP on the same port",
        "Handlers for a mapping of paths, beside listener factories.",
        ("files", "page", "health", "ready", "metrics", "metrics_page", "MetricsCollector"),
    ),
    Page(
        "topics",
        "Topics and backplanes",
        "Messages for all connections that have subscribed to a name, in one process or in many.",
        (
            *("Topics", "Subscribed", "Position", "TopicsStats", "RuleStats", "SubscriberStats"),
            *("Envelope", "WSTopicError", "RedisBackplane", "NatsBackplane", "ShardedBackplane"),
            *("Backplane", "BackplaneReceiver", "HistoryRule", "History", "Publication"),
            *("BackplaneStats", "BackplaneError", "BackplaneFull"),
        ),
    ),
    Page(
        "asgi",
        "ASGI",
        "What serves applications of FastAPI, Starlette, Litestar, Quart and Channels.",
        ("UvicornProtocol", "asgi_listener", "ClientDisconnected", "LifespanError"),
    ),
    Page(
        "listeners",
        "Listeners",
        "Base classes of your listeners, whose methods the library calls.",
        ("WSListener", "WSMessageListener", "WSBatchListener"),
    ),
    Page(
        "connections",
        "Connections",
        "An open connection: for listeners a transport, for coroutines a connection above it.",
        (
            *("WSTransport", "WSConnection", "WSState", "WSConnectionStats", "broadcast"),
            *("WSPreparedMessage", "WSTap", "WSDirection"),
        ),
    ),
    Page(
        "frames",
        "Frames and messages",
        "What a listener receives, and the numbers of RFC 6455.",
        ("WSFrame", "WSMessage", "WSMsgType", "WSCloseCode"),
    ),
    Page(
        "handshakes",
        "Opening handshake",
        "Request and response, as a listener factory and a handler see them.",
        ("WSUpgradeRequest", "WSUpgradeResponse", "WSUpgradeResponseWithListener"),
    ),
    Page(
        "ends",
        "How a connection ended",
        "Close codes and reasons of both sides, and the cause.",
        ("WSDisconnectCause", "WSDisconnectKind", "WSCloseHandshake", "WSCloseInfo"),
    ),
    Page(
        "errors",
        "Errors",
        "",
        (
            *("WSError", "WSUsageError", "WSInvalidURL", "WSInvalidOptionError"),
            *("WSInvalidCloseError", "WSInvalidFrameError", "WSStateError", "WSThreadError"),
            *("WSHandshakeError", "WSInvalidMessageError", "WSInvalidStatusError"),
            *("WSInvalidHeaderError", "WSInvalidUpgradeError", "WSHandshakeTimeout"),
            *("WSProtocolError", "WSConnectionError", "WSConnectionClosed", "WSPingTimeout"),
            *("WSDataTimeout", "WSCloseTimeout", "WSSlowConsumer", "WSProxyError"),
        ),
    ),
    Page(
        "options",
        "Options",
        "Options that every function takes which opens connections or accepts them.",
        ("WSOptions", "WSPermessageDeflate", "WSAutoPingStrategy"),
    ),
    Page(
        "testing",
        "Testing and recording",
        "A listener without a network, and feeds in files.",
        (
            *("connected", "Connected", "FakeLoop", "FakeClock", "Frame"),
            *("Recorder", "Record", "read_recording", "replay", "RecordingError"),
        ),
    ),
    Page(
        "codec",
        "Codec",
        "The protocol without I/O, for programs that bring their own transport.",
        (
            *("WSEndpoint", "ClientHandshake", "ServerHandshake", "WSFrameParser"),
            *("decode_frame_header", "encode_frame_header", "encode_close_payload"),
            *("level", "available_levels", "set_level"),
        ),
    ),
)
CYTHON = ("cython", "C-level API")
TYPES = ("types", "Types in signatures")
# The library, uvicorn or a function makes them; nobody calls their constructors.
MADE_BY_LIBRARY = frozenset(
    {
        *("Connected", "Record", "UvicornProtocol", "WSCertificateWatch", "WSCloseHandshake"),
        *("WSCloseInfo", "WSConnection", "WSConnectionStats", "WSDisconnectCause", "WSKernelTls"),
        *("WSLink", "WSServer", "WSServerStats"),
    }
)
# What these classes have of another one is described there.
INTERFACES = dict.fromkeys(("RedisBackplane", "NatsBackplane", "ShardedBackplane"), "Backplane")
# Files of the C-level API, in the order of the tiers.
STABLE = ("constants", "enums", "mask", "utf8", "close", "frame_header")
GATED = ("parser", "frames", "transport", "listener", "batch", "prepared", "broadcasting", "tap")


def main(arguments: List[str]) -> None:
    """Check or write."""
    problems = [f"{name} has no place in the reference" for name in sorted(missing())]
    problems += [f"{name} is not public any more" for name in sorted(superfluous())]
    if problems:
        sys.exit("\n".join([*problems, "(PAGES in tools/reference.py)"]))
    for directory in arguments:
        write(Path(directory))


def public_names() -> Dict[str, List[str]]:
    """Return every public name and the modules that it is imported from."""
    names: Dict[str, List[str]] = {}
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            if name != "__version__":
                names.setdefault(name, []).append(module)
    return names


def missing() -> Set[str]:
    """Return the public names that are on no page."""
    return set(public_names()) - {name for page in PAGES for name in page.names}


def superfluous() -> Set[str]:
    """Return the names on pages that are not public, or on two."""
    placed = [name for page in PAGES for name in page.names]
    return {name for name in placed if placed.count(name) > 1 or name not in public_names()}


def undocumented() -> Set[str]:
    """Return the public names, and those of their members, about which nothing is said."""
    homes = public_names()
    placed = (name for page in PAGES for name in page.names)
    return {each for name in placed for each in Documented(name, homes[name]).undocumented()}


def write(directory: Path) -> None:
    """Write all pages; a page that has not changed keeps its time, so that Sphinx skips it."""
    directory.mkdir(parents=True, exist_ok=True)
    homes = public_names()
    texts = {page.name: rendered(page, homes) for page in PAGES}
    texts[TYPES[0]] = types_page("".join(texts.values()))
    texts[CYTHON[0]] = cython_page()
    for name, text in texts.items():
        path = directory / f"{name}.rst"
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in directory.glob("*.rst"):
        if path.stem not in texts:
            path.unlink()


def heading(text: str, line: str) -> str:
    """Return a heading."""
    return f"{text}\n{line * len(text)}\n\n"


def rendered(page: Page, homes: Dict[str, List[str]]) -> str:
    """Return one page."""
    intro = page.intro
    if page.name == "errors":
        # The tree that the docstring of the module draws.
        intro = inspect.getdoc(importlib.import_module("picows_codec.errors")) or ""
    parts = [heading(page.title, "="), f"{intro}\n\n"]
    parts += [Documented(name, homes[name]).text() for name in page.names]
    return "".join(parts)


class Documented:
    """One public name: its directive, with all that it has."""

    def __init__(self, name: str, homes: List[str]) -> None:
        self.name = name
        self.homes = homes
        self.object: Any = getattr(importlib.import_module(homes[0]), name)
        owner = self.object if hasattr(self.object, "__name__") else type(self.object)
        self.source = source_of(owner.__module__)

    def text(self) -> str:
        """Return the section about the name."""
        head = f".. py:currentmodule:: {self.homes[0]}\n\n{heading(self.name, '-')}"
        imports = ", ".join(f"``{home}``" for home in sorted(self.homes))
        body = f"Import it from {imports}.\n\n"
        if inspect.isclass(self.object) and self.object.__name__ != self.name:
            body += f"Another name of :class:`{self.object.__name__}`.\n\n"
            directive = block("py:data", [self.name], "", body)
        elif inspect.isclass(self.object):
            directive = self._class(body)
        elif inspect.isroutine(self.object):
            directive = self._function(body)
        elif is_alias(self.object):
            alias = aliases()[self.name]
            directive = block(
                "py:type", [self.name], f":canonical: {alias.type}", body + alias.about
            )
        else:
            body += documentation(type(self.object))
            directive = block("py:data", [self.name], "", body)
        return f"{head}{directive}\n"

    def _function(self, body: str) -> str:
        signatures = [f"{self.name}{shown}" for shown in self._signatures()]
        return block("py:function", signatures, "", body + documentation(self.object))

    def _signatures(self) -> List[str]:
        if inspect.isfunction(self.object):
            return [signature_text(inspect.signature(self.object))]
        return [arguments_text(node, drop_self=False) for node in self.source.functions(self.name)]

    def _class(self, body: str) -> str:
        bases = [base.__name__ for base in self.object.__bases__ if base is not object]
        public = [base for base in bases if not base.startswith("_")]
        shown = ", ".join(
            f":class:`{base}`" if base in public_names() else f"``{base}``" for base in public
        )
        body += f"Bases: {shown}\n\n" if shown else ""
        if self.name in INTERFACES:
            body += f"A :class:`{INTERFACES[self.name]}`, which says what its methods do.\n\n"
        body += documentation(self.object)
        body += "".join(self._members())
        kind = "py:exception" if issubclass(self.object, BaseException) else "py:class"
        return block(kind, [f"{self.name}{self._constructor()}"], "", body)

    def _constructor(self) -> str:
        node = self.source.class_named(self.object.__name__)
        if issubclass(self.object, enum.Enum) or self.name in MADE_BY_LIBRARY:
            return ""
        for child in node.body:
            if isinstance(child, ast.FunctionDef) and child.name == "__init__":
                return arguments_text(child, drop_self=True, with_return=False)
        is_record = hasattr(self.object, "__dataclass_fields__") or hasattr(self.object, "_fields")
        return signature_text(inspect.signature(self.object)) if is_record else ""

    def _members(self) -> Iterator[str]:
        if issubclass(self.object, enum.Enum):
            for name, member in self.object.__members__.items():
                yield block("py:attribute", [name], f":value: {member.value!r}", "")
            return
        node = self.source.class_named(self.object.__name__)
        methods: Dict[str, List[ast.AST]] = {}
        for child in node.body:
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                methods.setdefault(child.name, []).append(child)
            elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
                methods.setdefault(child.target.id, []).append(child)
        comments = self.source.comments(node)
        about = inspect.getdoc(self.object) or ""
        for name in [*methods, *(name for name in comments if name not in methods)]:
            is_listed = re.search(rf"^``{name}`` \(", about, re.MULTILINE)  # of WSOptions
            if not name.startswith("_") and not is_listed and not self._is_of_interface(name):
                yield self._member(name, methods.get(name, []), comments.get(name, ""))

    def _is_of_interface(self, name: str) -> bool:
        """Return whether the member says nothing beyond what its interface says."""
        if self.name not in INTERFACES:
            return False
        interface = getattr(importlib.import_module(self.homes[0]), INTERFACES[self.name])
        return hasattr(interface, name) and not documentation(getattr(self.object, name))

    def undocumented(self) -> Iterator[str]:
        """Yield what neither has a docstring nor is named by that of its class."""
        if is_alias(self.object):
            about = aliases()[self.name].about
        else:
            about = documentation(self.object) or documentation(type(self.object))
        if not about:
            yield self.name
        if inspect.isclass(self.object) and not issubclass(self.object, enum.Enum):
            about = inspect.getdoc(self.object) or ""
            for member in self._members():
                name = re.findall(r":: (\w+)", member)[0]
                body = member.partition("\n\n")[2]
                is_named = f"``{name}``" in about or f":param {name}:" in about
                if not body.strip() and not is_named:
                    yield f"{self.name}.{name}"

    def _member(self, name: str, nodes: List[Any], comment: str) -> str:
        text = f"{comment}\n" if comment else ""
        node = nodes[0] if nodes else None
        if node is None:
            return block("py:attribute", [name], "", text)
        if isinstance(node, ast.AnnAssign):
            return block("py:attribute", [name], f":type: {ast.unparse(node.annotation)}", text)
        value = inspect.getattr_static(self.object, name, None)
        text += documentation(getattr(value, "__func__", value))
        marks = {word for each in node.decorator_list for word in ast.unparse(each).split(".")}
        if marks & {"property", "cached_property"}:
            returns = f":type: {ast.unparse(node.returns)}" if node.returns else ""
            return block("py:property", [name], returns, text)
        options = []
        if "classmethod" in marks:
            options.append(":classmethod:")
        if "staticmethod" in marks:
            options.append(":staticmethod:")
        if isinstance(node, ast.AsyncFunctionDef):
            options.append(":async:")
        overloads = [each for each in nodes if is_overload(each)] or nodes[:1]
        drop = "staticmethod" not in marks
        shown = [f"{name}{arguments_text(each, drop_self=drop)}" for each in overloads]
        return block("py:method", shown, "\n".join(options), text)


class Source:
    """What the source of a module, or the stub of a compiled one, says of signatures and types."""

    def __init__(self, path: Path) -> None:
        text = path.read_text("utf-8")
        self._lines = text.splitlines()
        self._body = ast.parse(text).body

    def functions(self, name: str) -> List[Any]:
        """Return the definitions of a function; of one with overloads, those."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in self._body if isinstance(node, kinds) and node.name == name]
        return [node for node in found if is_overload(node)] or found

    def class_named(self, name: str) -> ast.ClassDef:
        """Return the definition of a class."""
        return next(
            node for node in self._body if isinstance(node, ast.ClassDef) and node.name == name
        )

    def comments(self, node: ast.ClassDef) -> Dict[str, str]:
        """Return what comments with a colon (``#:``) say of the attributes below them."""
        found: Dict[str, str] = {}
        comment: List[str] = []
        is_above = False  # the line above is of the comment, too
        for line in self._lines[node.lineno - 1 : node.end_lineno]:
            stripped = line.strip()
            if stripped.startswith("#:"):
                comment = [*comment, stripped[2:].strip()] if is_above else [stripped[2:].strip()]
                is_above = True
                continue
            is_above = False
            attribute = re.match(r"(?:self\.)?(\w+)(?:: | = )", stripped)
            if comment and attribute:  # also of the next one, if that has none of its own
                found[attribute[1]] = "\n".join(comment)
            else:
                comment = []
        return found


@lru_cache(maxsize=None)
def source_of(module: str) -> Source:
    """Return the source of a module, or its stub."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"{module} has no source")
    path = Path(spec.origin)
    stub = path.with_name(f"{path.name.partition('.')[0]}.pyi")
    return Source(stub if stub.is_file() else path)


def is_overload(node: Any) -> bool:
    """Return whether a definition is one of several overloads."""
    return any(ast.unparse(each).endswith("overload") for each in node.decorator_list)


def arguments_text(node: Any, *, drop_self: bool, with_return: bool = True) -> str:
    """Return the parameters of a definition in a source, without ``self``."""
    arguments = deepcopy(node.args)
    if drop_self:
        positional = arguments.posonlyargs or arguments.args
        del positional[:1]
    returns = f" -> {ast.unparse(node.returns)}" if with_return and node.returns else ""
    return f"({ast.unparse(arguments)}){returns}"


def signature_text(signature: inspect.Signature) -> str:
    """Return a signature as in a source: with the names of types, and values that can be read."""
    parameters = [
        parameter.replace(
            annotation=shown_type(parameter.annotation), default=shown_value(parameter.default)
        )
        for parameter in signature.parameters.values()
    ]
    returns = shown_type(signature.return_annotation)
    return str(inspect.Signature(parameters, return_annotation=returns))


class Verbatim:
    """A type or a value whose ``repr`` is what a source has."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def shown_type(value: Any) -> Any:
    """Return an annotation as a source has it."""
    if value is inspect.Parameter.empty:
        return value
    if isinstance(value, str):
        return Verbatim(value)
    if inspect.isclass(value) and value.__module__ != "typing":
        return Verbatim(value.__name__)
    text = re.sub(r"ForwardRef\('(\w+)'\)", r"\1", repr(value)).replace("NoneType", "None")
    return Verbatim(re.sub(r"\b(typing|picows_\w+(\.\w+)*)\.", "", text))


def shown_value(value: Any) -> Any:
    """Return a default as a source has it."""
    if isinstance(value, enum.Enum):
        return Verbatim(f"{type(value).__name__}.{value.name}")
    if value is not inspect.Parameter.empty and (inspect.isclass(value) or callable(value)):
        return Verbatim(value.__name__)
    return value


def documentation(value: object) -> str:
    """Return the docstring of an object, without a signature that Cython has put before it."""
    text = inspect.getdoc(value) or ""
    text = text.partition("\n--\n\n")[2] if "\n--\n\n" in text else text
    if not text or text == inspect.getdoc(type(value)):
        return ""
    return f"{listed(text)}\n\n"


def listed(text: str) -> str:
    """Return a docstring with its table of options (a name, its default, a text) as a list."""
    lines: List[str] = []
    is_item, depth = False, 0
    for line in text.splitlines():
        item = re.match(r"( *)``\w+`` \([^)]*\): ", line)
        if item:
            lines += [] if is_item else [""]
            lines.append(f"{item[1]}- {line.strip()}")
            is_item, depth = True, len(item[1])
        elif is_item and line.startswith(" " * (depth + 1)):
            lines.append(f"{' ' * depth}  {line.strip()}")
        else:
            lines += ["", line] if is_item and line.strip() else [line]
            is_item = False
    return "\n".join(lines)


def block(directive: str, signatures: Iterable[str], options: str, body: str) -> str:
    """Return a directive of Sphinx with its content."""
    first, *others = signatures
    lines = f".. {directive}:: {first}\n"
    lines += "".join(f"{' ' * (len(directive) + 6)}{other}\n" for other in others)
    lines += indent(f"{options}\n", "   ") if options else ""
    return f"{lines}\n{indent(body, '   ')}\n"


def types_page(text: str) -> str:
    """Return the page about the types that signatures of other pages name and no module exports."""
    signatures = "\n".join(re.findall(r"^ *(?:\.\. py:|:type:).*", text, re.MULTILINE))
    named = set(re.findall(r"\w+", signatures))
    found = {name: each.type for name, each in aliases().items() if name in named}
    parts = [
        heading(TYPES[1], "="),
        "Names for what stands behind them; no module exports them.\n\n",
    ]
    parts += [
        block("py:type", [name], f":canonical: {found[name]}", "")
        for name in sorted(found.keys() - public_names().keys())
    ]
    return "".join(parts)


class Alias(NamedTuple):
    """What a name of a type stands for, and the comment (``#:``) above it."""

    type: str
    about: str


def is_alias(value: object) -> bool:
    """Return whether an object is a type such as ``Callable[[str], bytes]``."""
    return hasattr(value, "__origin__")


@lru_cache(maxsize=None)
def aliases() -> Dict[str, Alias]:
    """Return the types that the three packages have named."""
    found: Dict[str, Alias] = {}
    for package in ("picows_codec", "picows_client", "picows_server"):
        module = importlib.import_module(package)
        for path in sorted(Path(module.__path__[0]).rglob("*.py")):
            text = path.read_text("utf-8")
            for node in ast.parse(text).body:
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                    target = node.targets[0]
                    if isinstance(target, ast.Name) and not target.id.startswith("_"):
                        named = ast.unparse(node.value).replace("'", "")
                        found[target.id] = Alias(named, comment_above(text, node.lineno))
    return found


def comment_above(text: str, line: int) -> str:
    """Return what the comment with a colon (``#:``) above a line says."""
    above = text.splitlines()[: line - 1]
    lines = list(takewhile(lambda each: each.startswith("#:"), reversed(above)))
    return "".join(f"{each[2:].strip()}\n" for each in reversed(lines))


def cython_page() -> str:
    """Return the page about the C-level API: what its .pxd files declare for others."""
    intro = "What another extension may cimport, from ``picows_codec`` or from the file itself.\n"
    intro += ":doc:`../embedding` says what each tier promises.\n\n"
    parts = [heading(CYTHON[1], "="), intro]
    for tier, files in (("Stable tier", STABLE), ("Gated tier", GATED)):
        parts.append(heading(tier, "-"))
        for name in files:
            text = (PXD / f"{name}.pxd").read_text("utf-8")
            about, declarations = public_declarations(text)
            parts.append(heading(f"picows_codec.{name}", "^"))
            parts.append(f"{about}\n\n.. code-block:: cython\n\n{indent(declarations, '   ')}\n\n")
    return "".join(parts)


def public_declarations(text: str) -> Tuple[str, str]:
    """Return the docstring of a .pxd file, and its declarations without private ones and bodies."""
    match = re.match(r'"""(.*?)"""\n', text, re.DOTALL)
    about = inspect.cleandoc(match[1]) if match else ""
    text = text[match.end() if match else 0 :]
    text = re.sub(r"^(cimport|from) [^\n(]*(\([^)]*\))?\n", "", text, flags=re.MULTILINE)
    kept: List[str] = []
    for whole in statements(text):
        statement = whole
        comments = [line for line in statement if line.lstrip().startswith("#")]
        code = [line for line in statement if line not in comments]
        if not code:
            continue
        head = " ".join(code)
        if re.match(r"cdef inline ", head):  # without its body
            end = next(i for i, line in enumerate(code) if line.endswith(":"))
            statement = [*comments, *code[:end], code[end].rstrip(":")]
            head = " ".join(code[: end + 1])
        if re.match(r"c(p)?def (class _|(?!class|struct|enum)[^(=]*\b_\w+\()", head):
            continue
        kept.append("\n".join(public_lines(statement)))
    return about, "\n\n".join(kept)


def public_lines(statement: List[str]) -> List[str]:
    """Return a statement without private members and the comments above them."""
    kept: List[str] = []
    comments: List[str] = []
    for line in statement:
        if line.lstrip().startswith("#"):
            comments.append(line)
        elif re.match(r"\s+[^#(]*\b_\w+", line):
            comments = []
        else:
            kept += [*comments, line]
            comments = []
    return kept


def statements(text: str) -> Iterator[List[str]]:
    """Yield each statement at the margin with the comment above it, and without empty lines."""
    statement: List[str] = []
    has_code = False
    for line in text.splitlines():
        if not line.strip():
            continue
        begins = line[0] not in " )"
        if begins and has_code:
            yield statement
            statement, has_code = [], False
        statement.append(line)
        has_code = has_code or line[0] not in "#@"
    if statement:
        yield statement


if __name__ == "__main__":
    main(sys.argv[1:])
