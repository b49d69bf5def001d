"""Compare the codec's C-level API with its manifest, and say which number must be raised.

    python tools/abi.py            compare; fail with the changes and the number to raise
    python tools/abi.py --write    raise ABI_EPOCH or ABI_LEVEL as needed, and write what follows

``--unreleased`` writes without raising a number: no release has the present ones yet.

The manifest, packages/picows-codec/abi.json, has everything public in the .pxd files: values of
enums, signatures, sizes and offsets in bytes (of classes: behind the object's head), and the order
of virtual methods. The package's own .pxd file, which has all of these names, is written from it.
The manifest is the same on every 64-bit platform. Needs Cython and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[1]
CODEC = ROOT / "packages" / "picows-codec"
SOURCE = CODEC / "src"
MANIFEST = CODEC / "abi.json"

TIERS = {
    "constants": "stable",
    "enums": "stable",
    "mask": "stable",
    "utf8": "stable",
    "close": "stable",
    "frame_header": "stable",
    "parser": "gated",
    "frames": "gated",
    "transport": "gated",
    "listener": "gated",
    "batch": "gated",
    "prepared": "gated",
    "broadcasting": "gated",
    "tap": "gated",
}
PRIVATE = "(private)"
KINDS = ("constants", "enums", "structs", "functions", "classes")
Rooms = Dict[str, Dict[str, Any]]

GUARD = '''\
"""Epoch and level of the C-level API, and the check of both at import. Stable tier.

Written by tools/abi.py. Every public .pxd file cimports this one. So the import of an extension
looks the class below up in abi.py, which raises ImportError if the extension cannot run.
"""

cdef enum:
    WS_ABI_EPOCH = {epoch}
    WS_ABI_LEVEL = {level}

cdef extern from *:
    ctypedef class picows_codec.abi.{name} [
            object PyObject, check_size ignore]:
        pass
'''


PACKAGE = '''\
"""Every public name of the C-level API: ``from picows_codec cimport WSListener, ws_mask``.

Written by tools/abi.py. A file that cimports from here checks all classes of the gated tier when it
is imported, even those that it does not use. To avoid that, cimport a name from its own file.
"""

cimport picows_codec.abi
{cimports}
'''


def main(arguments: List[str]) -> None:
    """Compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring everything up to date")
    parser.add_argument("--unreleased", action="store_true", help="with --write: raise no number")
    options = parser.parse_args(arguments)
    rooms = describe(SOURCE)
    if options.write:
        write(rooms, committed(), SOURCE, MANIFEST, unreleased=options.unreleased)
        return
    problems = compare(rooms, committed(), SOURCE)
    if problems:
        sys.exit("\n".join(problems))
    print(f"the C-level API is what {MANIFEST.name} says")


def committed() -> Rooms:
    """Return the manifest."""
    manifest: Rooms = json.loads(MANIFEST.read_text("utf-8"))
    return manifest


def compare(rooms: Rooms, manifest: Rooms, source: Path) -> List[str]:
    """Return what is wrong with the manifest, the numbers and the guard: nothing, if all is well.

    :param rooms: the API as it is.
    :param manifest: the API as it was.
    """
    number, changes = difference(manifest, rooms)
    if number == "nothing":
        return [*changes, STABLE]
    if number:
        return [*changes, f"raise {number}: {REASONS[number]} (python tools/abi.py --write)"]
    epoch, level, layouts = numbers(source)
    package = source / "picows_codec"
    if layouts[-1:] != [digest(rooms)] or len(layouts) != level:
        return ["abi.py: LAYOUTS is out of date: python tools/abi.py --write"]
    expected = {
        "abi.pxd": guard_text(epoch, level, layouts[-1], version(source)),
        "__init__.pxd": package_text(rooms),
    }
    return [
        f"{name} is out of date: python tools/abi.py --write"
        for name, text in expected.items()
        if not (package / name).is_file() or (package / name).read_text("utf-8") != text
    ]


STABLE = "undo it: what is in the stable tier stays as it is, in every epoch"
REASONS = {
    "ABI_EPOCH": "what was compiled before cannot run with it; a new major version is due",
    "ABI_LEVEL": "what is compiled with it cannot run with what came before",
}


def difference(old: Rooms, new: Rooms) -> Tuple[Optional[str], List[str]]:
    """Return the name of the number to raise, None if nothing has changed, and the changes.

    The number is "nothing" where no number makes the change right.
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    broken, added = [], []
    for path, value in before.items():
        if path not in after:
            broken.append(f"- {path}: {value}")
        elif after[path] != value:
            what = f"! {path}: {value} -> {after[path]}"
            (added if value == PRIVATE else broken).append(what)
    added.extend(f"+ {path}: {after[path]}" for path in after if path not in before)
    changes = [*broken, *added]
    if any(TIERS.get(line[2:].partition(".")[0]) == "stable" for line in broken):
        return "nothing", changes
    return ("ABI_EPOCH" if broken else "ABI_LEVEL" if added else None), changes


def flatten(value: Any, path: str = "") -> Iterator[Tuple[str, str]]:
    """Yield path and text of every leaf."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else key)
    else:
        yield path, str(value)


def write(
    rooms: Rooms, before: Rooms, source: Path, manifest: Path, *, unreleased: bool = False
) -> None:
    """Raise what must be raised; write the numbers, the manifest and the guard."""
    epoch, level, layouts = numbers(source)
    number, changes = difference(before, rooms)
    print("\n".join(changes))
    if number == "nothing" and not unreleased:
        sys.exit(STABLE)
    if unreleased or number is None:
        layouts[-1:] = [digest(rooms)]
    elif number == "ABI_EPOCH":
        epoch, level, layouts = epoch + 1, 1, [digest(rooms)]
    else:
        level, layouts = level + 1, [*layouts, digest(rooms)]
    path = source / "picows_codec" / "abi.py"
    text = path.read_text("utf-8")
    text = re.sub(r"(?m)^ABI_EPOCH = .*$", f"ABI_EPOCH = {epoch}", text)
    text = re.sub(r"(?m)^ABI_LEVEL = .*$", f"ABI_LEVEL = {level}", text)
    lines = f'"{layouts[0]}",'
    if len(layouts) > 1:
        lines = "\n" + "".join(f'    "{layout}",\n' for layout in layouts)
    text = re.sub(r"(?ms)^LAYOUTS = \(.*?\)$", f"LAYOUTS = ({lines})", text)
    path.write_text(text, "utf-8")
    manifest.write_text(json.dumps(rooms, indent=2) + "\n", "utf-8")
    write_guard(source)
    (source / "picows_codec" / "__init__.pxd").write_text(package_text(rooms), "utf-8")
    print(f"epoch {epoch}, level {level}")


def write_guard(source: Path) -> None:
    """Write abi.pxd for the numbers and the version that the sources have now."""
    epoch, level, layouts = numbers(source)
    text = guard_text(epoch, level, layouts[-1], version(source))
    (source / "picows_codec" / "abi.pxd").write_text(text, "utf-8")


def guard_text(epoch: int, level: int, layout: str, codec_version: str) -> str:
    """Return what abi.pxd should hold."""
    encoded = codec_version.replace(".", "_")
    name = f"epoch_{epoch}_level_{level}_layout_{layout}_version_{encoded}"
    return GUARD.format(epoch=epoch, level=level, name=name)


def package_text(rooms: Rooms) -> str:
    """Return what __init__.pxd should hold: the names of all rooms, each of which is there once."""
    names = {"abi": ["WS_ABI_EPOCH", "WS_ABI_LEVEL"]}
    for room, kinds in rooms.items():
        found = (name for kind in KINDS for name in kinds.get(kind, {}))
        names[room] = sorted(name for name in found if "." not in name)
    every = [name for public in names.values() for name in public]
    if len(every) != len(set(every)):
        twice = sorted({name for name in every if every.count(name) > 1})
        raise ValueError(f"more than one .pxd file has {', '.join(twice)}")
    cimports = []
    for room, public in names.items():
        lines = "".join(f"    {name},\n" for name in public)
        cimports.append(f"from picows_codec.{room} cimport (\n{lines})")
    return PACKAGE.format(cimports="\n".join(cimports))


def numbers(source: Path) -> Tuple[int, int, List[str]]:
    """Return epoch, level and layouts of the sources."""
    text = (source / "picows_codec" / "abi.py").read_text("utf-8")
    epoch, level, layouts = (
        re.search(pattern, text)
        for pattern in (
            r"(?m)^ABI_EPOCH = (\d+)$",
            r"(?m)^ABI_LEVEL = (\d+)$",
            r"(?ms)^LAYOUTS = \((.*?)\)$",
        )
    )
    if not (epoch and level and layouts):
        raise ValueError("abi.py has lost ABI_EPOCH, ABI_LEVEL or LAYOUTS")
    return int(epoch[1]), int(level[1]), re.findall(r'"(\w*)"', layouts[1])


def version(source: Path) -> str:
    """Return the codec's version."""
    text = (source / "picows_codec" / "_version.py").read_text("utf-8")
    return text.partition('"')[2].partition('"')[0]


def digest(rooms: Rooms) -> str:
    """Return a name for the API as it is."""
    return hashlib.sha256(json.dumps(rooms).encode()).hexdigest()[:12]


# Reading the .pxd files


def describe(source: Path) -> Rooms:
    """Return what the public .pxd files below ``source`` declare, as they compile here."""
    from Cython.Compiler import Errors  # noqa: PLC0415
    from Cython.Compiler.Main import CompilationOptions, Context  # noqa: PLC0415

    Errors.init_thread()  # Cython before 3.3 has no count of errors in a thread without it
    options = CompilationOptions(include_path=[str(source)], language_level=3)
    context = Context.from_options(options)
    probe = Probe()
    rooms = {}
    for room, tier in TIERS.items():
        scope = context.find_module(f"picows_codec.{room}", need_pxd=True)
        rooms[room] = {"tier": tier, **describe_room(scope, probe)}
    probe.measure(source)
    resolved: Rooms = probe.resolve(rooms)
    return resolved


class Probe:
    """C expressions, each standing for the number that the compiler makes of it."""

    def __init__(self) -> None:
        self._expressions: List[str] = []
        self._values: List[int] = []

    def ask(self, expression: str) -> Any:
        """Return a stand-in for the value."""
        self._expressions.append(expression)
        return _Answer(len(self._expressions) - 1)

    def resolve(self, value: Any) -> Any:
        """Replace stand-ins by values."""
        if isinstance(value, _Answer):
            return self._values[value.index]
        if isinstance(value, dict):
            return {str(self.resolve(key)): self.resolve(item) for key, item in value.items()}
        if isinstance(value, tuple):  # a field
            return " ".join(str(self.resolve(item)) for item in value)
        return value

    def measure(self, source: Path) -> None:
        """Compile all expressions; nothing of the codec is imported or run."""
        from Cython.Build import cythonize  # noqa: PLC0415
        from setuptools import Distribution, Extension  # noqa: PLC0415

        cimports = "".join(f"cimport picows_codec.{room}\n" for room in TIERS)
        table = ",\n".join(f"(long long) ({expression})" for expression in self._expressions)
        program = f'''\
# cython: language_level=3, preliminary_late_includes_cy28=True
{cimports}
cdef extern from *:
    """
    #include <stddef.h>
    #ifdef __GNUC__
    __attribute__((visibility("default")))
    #elif defined(_MSC_VER)
    __declspec(dllexport)
    #endif
    long long picows_abi_values[] = {{{table}}};
    """
    long long picows_abi_values[1]
'''
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "probe.pyx")
            path.write_text(program, "utf-8")
            extensions = cythonize(
                [Extension("probe", [str(path)])], include_path=[str(source)], quiet=True
            )
            command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
            command.build_lib = command.build_temp = directory
            command.ensure_finalized()
            command.run()
            library = ctypes.CDLL(command.get_ext_fullpath("probe"))
            array = ctypes.c_longlong * len(self._expressions)
            self._values = list(array.in_dll(library, "picows_abi_values"))


class _Answer:
    def __init__(self, index: int) -> None:
        self.index = index


def describe_room(scope: Any, probe: Probe) -> Dict[str, Any]:
    """Return what one .pxd file declares."""
    found: Dict[str, Dict[str, Any]] = {kind: {} for kind in KINDS}
    for name, entry in scope.entries.items():
        if entry.scope is not scope or name.startswith("_"):
            continue
        if entry.is_const:
            # A member that has its enum's name for a prefix is not offered without it.
            prefix = "" if name.startswith("WS_") else f"{entry.type.name}."
            found["constants"][prefix + name] = probe.ask(entry.cname)
        elif entry.is_cfunction:
            inline = "inline " if entry.inline_func_in_pxd else ""
            found["functions"][name] = inline + signature(entry.type)
        elif entry.is_type and entry.type.is_enum:
            found["enums"][name] = probe.ask(f"sizeof({entry.type.declaration_code('')})")
        elif entry.is_type and entry.type.is_struct_or_union:
            found["structs"][name] = describe_struct(entry.type, probe)
        elif entry.is_type and entry.type.is_extension_type:
            found["classes"][name] = describe_class(entry.type, probe)
    return {kind: names for kind, names in found.items() if names}


def describe_struct(struct: Any, probe: Probe) -> Dict[str, Any]:
    """Return size and fields of a struct."""
    name = struct.declaration_code("")
    return {
        "size": probe.ask(f"sizeof({name})"),
        "fields": {
            field.name: (probe.ask(f"offsetof({name}, {field.cname})"), display(field.type))
            for field in struct.scope.var_entries
            if not field.name.startswith("_")
        },
    }


def describe_class(kind: Any, probe: Probe) -> Dict[str, Any]:
    """Return size, fields and virtual methods of an extension type."""
    struct = f"struct {kind.objstruct_cname}"
    table = f"struct {kind.vtabstruct_cname}"
    fields = {
        field.name: (
            probe.ask(f"offsetof({struct}, {field.cname}) - sizeof(PyObject)"),
            display(field.type),
        )
        for field in kind.scope.var_entries
        if not field.name.startswith("_") and not getattr(field, "is_inherited", False)
    }
    slots = {}
    for method in kind.scope.cfunc_entries:
        if not method.is_inherited:
            slot = probe.ask(f"offsetof({table}, {method.cname}) / sizeof(void *)")
            # Only its place matters of a method that nobody else may call.
            hidden = method.name.startswith("_")
            slots[slot] = PRIVATE if hidden else f"{method.name}: {signature(method.type)}"
    base = kind.base_type.name if kind.base_type else "object"
    return {
        "base": base,
        "size": probe.ask(f"sizeof({struct}) - sizeof(PyObject)"),
        "fields": fields,
        "slot_count": probe.ask(f"sizeof({table}) / sizeof(void *)"),
        "slots": slots,
    }


def signature(function: Any) -> str:
    """Return a function's type as it is written in a .pxd file."""
    required = len(function.args) - function.optional_arg_count
    arguments = [
        display(argument.type) + ("=*" if index >= required else "")
        for index, argument in enumerate(function.args)
    ]
    if function.exception_check == "+":
        raising = "except +"
    elif function.exception_value is not None:
        raising = f"except {'?' if function.exception_check else ''} {function.exception_value}"
    else:
        raising = "except *" if function.exception_check else "noexcept"
        if function.return_type.is_pyobject:
            raising = ""
    words = [
        f"{display(function.return_type)} ({', '.join(arguments)})",
        raising.replace("except  ", "except "),
        "nogil" if function.nogil else "",
        "cpdef" if function.is_overridable else "",
    ]
    return " ".join(word for word in words if word)


def display(kind: Any) -> str:
    """Return a type as it is written in a .pxd file."""
    text: str = kind.declaration_code("", for_display=1)
    return text.replace("bool", "bint")


if __name__ == "__main__":
    main(sys.argv[1:])
