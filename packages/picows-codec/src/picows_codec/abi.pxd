"""Epoch and level of the C-level API, and the check of both at import. Stable tier.

Written by tools/abi.py. Every public .pxd file cimports this one. So the import of an extension
looks the class below up in abi.py, which raises ImportError if the extension cannot run.
"""

cdef enum:
    WS_ABI_EPOCH = 1
    WS_ABI_LEVEL = 1

cdef extern from *:
    ctypedef class picows_codec.abi.epoch_1_level_1_layout_f8a37122c64e_version_0_1_0 [
            object PyObject, check_size ignore]:
        pass
