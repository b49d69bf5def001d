"""Entries of the reference: one public name with all that it has."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
from typing import Any, Dict, Iterator, List

from tools.reference_markup import block, heading, listed
from tools.reference_pages import public_names
from tools.reference_source import (
    aliases,
    arguments_text,
    is_alias,
    is_overload,
    signature_text,
    source_of,
)

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


class Entry:
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


def documentation(value: object) -> str:
    """Return the docstring of an object, without a signature that Cython has put before it."""
    text = inspect.getdoc(value) or ""
    text = text.partition("\n--\n\n")[2] if "\n--\n\n" in text else text
    if not text or text == inspect.getdoc(type(value)):
        return ""
    return f"{listed(text)}\n\n"
