"""Options of one endpoint, validated once and read from C afterwards. Private tier.

Written by tools/options.py from option_table.py.
"""


cdef class WSOptions:
    cdef readonly bint disconnect_on_exception
    cdef readonly object websocket_handshake_timeout
    cdef readonly object close_timeout
    cdef readonly object stall_timeout
    cdef readonly object data_timeout
    cdef readonly bint enable_auto_ping
    cdef readonly double auto_ping_idle_timeout
    cdef readonly double auto_ping_reply_timeout
    cdef readonly object auto_ping_strategy
    cdef readonly bint enable_auto_pong
    cdef readonly Py_ssize_t max_frame_size
    cdef readonly Py_ssize_t max_message_size
    cdef readonly Py_ssize_t max_fragments_per_message
    cdef readonly Py_ssize_t max_handshake_line_size
    cdef readonly Py_ssize_t max_handshake_headers
    cdef readonly Py_ssize_t max_handshake_size
    cdef readonly Py_ssize_t write_high_watermark
    cdef readonly Py_ssize_t write_low_watermark
    cdef readonly Py_ssize_t max_write_queue_size
    cdef readonly Py_ssize_t read_buffer_init_size
    cdef readonly bint coalesce_writes
    cdef readonly object compression
    cdef readonly object tap
    cdef readonly bint collect_stats
    cdef readonly bint busy_poll
