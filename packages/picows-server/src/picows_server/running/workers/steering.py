"""Which sockets of a SO_REUSEPORT group get new connections (Linux).

By default the kernel chooses by a hash among all that listen. A program of the group can leave some
out: those whose worker is not ready, or which are about to be closed, so that nobody waits in their
queues. It is classic BPF, for which a process needs no privileges.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import List, Sequence, Tuple

__all__ = ["HAS_STEERING", "steer", "stop_steering"]

HAS_STEERING = sys.platform == "linux"

# socket(7), "SO_ATTACH_REUSEPORT_CBPF"; <asm-generic/socket.h>, in which few platforms differ.
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68  # Linux 5.3

# <linux/bpf_common.h>, <linux/filter.h>
_LOAD_ABSOLUTE = 0x20  # BPF_LD | BPF_W | BPF_ABS
_MODULO = 0x94  # BPF_ALU | BPF_MOD | BPF_K
_JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_INSTRUCTION = struct.Struct("=HBBI")

_Instruction = Tuple[int, int, int, int]


def steer(sock: socket.socket, indexes: Sequence[int]) -> None:
    """Let only some sockets of the group that ``sock`` is in get new connections.

    ``indexes`` counts the group's sockets in the order in which they began to listen; where one was
    closed, the last has taken its place. Raises :class:`OSError` where the kernel cannot do that,
    and :class:`ImportError` where Python has no ctypes.
    """
    import ctypes  # noqa: PLC0415 - some builds of Python have none

    program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in _program(indexes))
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION.size
    # struct sock_fprog
    descriptor = struct.pack("@HP", count, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, descriptor)


def stop_steering(sock: socket.socket) -> None:
    """Leave the choice to the kernel again; raises :class:`OSError` if there was no program.

    So it does before Linux 5.3, where the program stays.
    """
    sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def _program(indexes: Sequence[int]) -> List[_Instruction]:
    choices: List[_Instruction] = []
    for number, index in enumerate(indexes):
        choices += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, index)]
    return [
        (_LOAD_ABSOLUTE, 0, 0, _RANDOM),
        (_MODULO, 0, 0, len(indexes)),
        *choices,
        (_RETURN, 0, 0, indexes[0]),
    ]
