"""What the callbacks of a listener must be: functions that return, and that are really called.

A call of a coroutine function only makes a coroutine, which nobody awaits; a call of a generator
function makes a generator, which nobody runs. A ``def`` method of a compiled class is not in the
class's vtable, through which compiled listeners are called. Nobody would notice these mistakes, so
every listener is checked before its connection opens.
"""

from cpython.object cimport PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer

from picows_codec.listener cimport WSListener, WSMessageListener

import inspect
from functools import partial
from types import FunctionType, MethodType
from weakref import ref

cdef extern from "Python.h":
    bint PyType_HasFeature(type cls, unsigned long feature)
    unsigned long Py_TPFLAGS_HEAPTYPE

# What each is called with, in the order of the vtable, which begins with WSListener's.
cdef dict _ARGUMENTS = {
    "on_ws_connected": ("transport",),
    "on_ws_frame": ("transport", "frame"),
    "on_ws_disconnected": ("transport",),
    "pause_writing": (),
    "resume_writing": (),
    "send_user_specific_ping": ("transport",),
    "is_user_specific_pong": ("frame",),
    # of further classes
    "on_ws_message": ("transport", "message"),
    "on_ws_batch": ("transport", "messages"),
}
cdef tuple _CALLBACKS = tuple(_ARGUMENTS)[:7]

# What further classes of listeners have: the class -> the callback, and its place in the vtable.
cdef dict _further = {WSMessageListener: ("on_ws_message", 18)}

# Flags of functions whose call only makes an awaitable object.
cdef int _ASYNC = (
    inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR)

# Classes that passed: id -> weak reference, because this must not keep a class alive.
cdef dict _checked = {}


cdef int add_callback(type cls, str name, int slot) except -1:
    """A class of listeners of the library's has one more callback. Called when it is imported."""
    global _further     # replaced, because another thread may be looking at it
    _further = {**_further, cls: (name, slot)}
    return 0


cdef int check_callbacks(WSListener listener) except -1:
    """Raise TypeError unless every callback of the listener can be called.

    Called once per connection: checks a class once, and the attributes of the object each time.
    """
    cdef object cls = type(listener)
    cdef object own
    cdef object key = id(cls)
    cdef str name
    if key not in _checked:
        _check_class(cls)
        _check_bound(listener)
        _remember(cls, key)
    own = getattr(listener, "__dict__", None)
    if own:
        for name in _CALLBACKS:
            if name in own:
                _refuse_coroutine_function(cls, name, own[name])
        for base, (name, _) in _further.items():
            if name in own and isinstance(listener, base):
                _refuse_coroutine_function(cls, name, own[name])
    return 0


cdef int _check_bound(WSListener listener) except -1:
    """Check what a descriptor returns for an object: a property, a slot, a partialmethod."""
    cdef str name
    for name in _CALLBACKS:
        _check_callback(type(listener), name, getattr(listener, name))
    for base, (name, _) in _further.items():
        if isinstance(listener, base):
            _check_callback(type(listener), name, getattr(listener, name))
    return 0


cdef int _check_callback(type cls, str name, object callback) except -1:
    _refuse_coroutine_function(cls, name, callback)
    return _refuse_wrong_parameters(cls, name, callback)


cdef int _remember(type cls, object key) except -1:
    _checked[key] = ref(cls, lambda _: _checked.pop(key, None))
    return 0


cdef int _check_class(type cls) except -1:
    cdef str name
    cdef int slot
    for slot, name in enumerate(_CALLBACKS):
        _refuse_coroutine_function(cls, name, getattr(cls, name))
        _refuse_uncalled(cls, name, slot)
    for base, (name, slot) in _further.items():
        if issubclass(cls, base):
            _refuse_coroutine_function(cls, name, getattr(cls, name))
            _refuse_uncalled(cls, name, slot)
        elif _is_never_called(cls, name):
            raise TypeError(
                f"{cls.__qualname__}.{name} would never be called: the class must be a subclass of"
                f" {base.__name__}, not of {cls.__mro__[1].__name__}")
    return 0


cdef bint _is_never_called(type cls, str name) except -1:
    """Whether a Python function has the name of a callback that other classes have."""
    cdef object plain = (<object> WSListener).on_ws_frame
    cdef object joining = <object> WSMessageListener
    if type(getattr(cls, name, None)) is not FunctionType:
        return False
    if cls.on_ws_frame is not plain and cls.on_ws_frame is not joining.on_ws_frame:
        return False        # it may call the function itself
    return (
        not issubclass(cls, WSMessageListener) or cls.on_ws_message is joining.on_ws_message)


cdef int _refuse_coroutine_function(type cls, str name, object callback) except -1:
    cdef int flags = _code_flags(callback)
    if flags & (_ASYNC | inspect.CO_GENERATOR):
        kind = "coroutine" if flags & _ASYNC else "generator"
        raise TypeError(
            f"{cls.__qualname__}.{name} must be a plain function, not a {kind} function:"
            " callbacks are not awaited. Start a task from it, or put what arrived into an"
            " asyncio.Queue")
    return 0


cdef int _refuse_wrong_parameters(type cls, str name, object callback) except -1:
    """Refuse a Python function that cannot be called with what the callback gets."""
    cdef tuple arguments = _ARGUMENTS[name]
    cdef object function = callback
    cdef int given = len(arguments)
    cdef int most
    if isinstance(callback, MethodType):
        function = callback.__func__
        given += 1
    if type(function) is not FunctionType:
        return 0
    code = function.__code__
    most = code.co_argcount
    if (
            most - len(function.__defaults__ or ()) <= given
            and (given <= most or code.co_flags & inspect.CO_VARARGS)
            and code.co_kwonlyargcount == len(function.__kwdefaults__ or ())):
        return 0
    raise TypeError(
        f"{cls.__qualname__}.{name} is called as {name}({', '.join(arguments)}), which its"
        f" parameters {inspect.signature(function)} do not take")


cdef int _code_flags(object callback) except -1:
    """Return the flags of the code that a call runs; compiled functions have them, too."""
    while isinstance(callback, (partial, MethodType)):
        callback = callback.func if isinstance(callback, partial) else callback.__func__
    code = getattr(callback, "__code__", None)
    if code is None:
        code = getattr(getattr(type(callback), "__call__", None), "__code__", None)
    flags = getattr(code, "co_flags", 0)
    return flags if isinstance(flags, int) else 0


cdef int _refuse_uncalled(type cls, str name, int slot) except -1:
    """Refuse a def method of a compiled class that overrides a callback, but not in the vtable."""
    cdef type definer
    cdef type base
    for definer in cls.__mro__:
        if name in definer.__dict__:
            break
    if definer is WSListener or definer in _further:
        return 0
    if "__pyx_vtable__" not in definer.__dict__:
        return 0        # a Python class, or a compiled one without a vtable of its own
    if (<PyTypeObject*> cls).tp_dictoffset != 0 or PyType_HasFeature(cls, Py_TPFLAGS_HEAPTYPE):
        return 0        # for these the vtable's function looks the callback up
    base = definer.__base__
    if _slot(definer, slot) == _slot(base, slot):
        raise TypeError(
            f"{definer.__qualname__}.{name} would never be called: in a compiled class write cpdef"
            " instead of def")
    return 0


cdef void* _slot(type cls, int slot) except? NULL:
    cdef void** table = <void**> PyCapsule_GetPointer(cls.__dict__["__pyx_vtable__"], NULL)
    return table[slot]
