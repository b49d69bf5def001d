"""Options of one endpoint, validated once and read from C afterwards. Private tier."""


cdef class WSOptions:
    cdef readonly bint disconnect_on_exception
    cdef readonly object websocket_handshake_timeout    # float seconds or None
    cdef readonly object close_timeout                  # float seconds or None
    cdef readonly object stall_timeout                  # float seconds or None
    cdef readonly object data_timeout                   # float seconds or None
    cdef readonly bint enable_auto_ping
    cdef readonly double auto_ping_idle_timeout         # seconds
    cdef readonly double auto_ping_reply_timeout        # seconds
    cdef readonly object auto_ping_strategy             # WSAutoPingStrategy
    cdef readonly bint enable_auto_pong
    cdef readonly Py_ssize_t max_frame_size             # bytes of payload
    cdef readonly Py_ssize_t max_message_size           # bytes of payload
    cdef readonly Py_ssize_t max_fragments_per_message
    cdef readonly Py_ssize_t max_handshake_line_size    # bytes, CRLF not counted
    cdef readonly Py_ssize_t max_handshake_headers
    cdef readonly Py_ssize_t max_handshake_size         # bytes
    cdef readonly Py_ssize_t write_high_watermark       # bytes
    cdef readonly Py_ssize_t write_low_watermark        # bytes
    cdef readonly Py_ssize_t max_write_queue_size       # bytes
    cdef readonly Py_ssize_t read_buffer_init_size      # bytes
    cdef readonly bint coalesce_writes
    cdef readonly bint busy_poll
