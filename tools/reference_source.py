"""What sources say of signatures and types: those of modules, and the stubs of compiled ones."""

from __future__ import annotations

import ast
import enum
import importlib
import importlib.util
import inspect
import re
from copy import deepcopy
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple


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
