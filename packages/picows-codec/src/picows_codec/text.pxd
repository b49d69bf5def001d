"""A str from bytes that are known to be valid UTF-8. Private tier."""

from libc.stdint cimport uint8_t

cdef extern from *:
    """
    static inline uint64_t picows_word(const uint8_t *data) {
        uint64_t word;
        memcpy(&word, data, 8);
        return word;
    }
    static inline int picows_is_ascii(const uint8_t *data, Py_ssize_t size) {
        const uint8_t *end = data + size;
        uint64_t all = 0;
        if (size < 8) {
            while (data < end)
                all |= *data++;
            return all < 0x80;
        }
        if (size >= 256) {   /* a shape that compilers make vector instructions of */
            uint64_t row[8] = {0};
            int i;
            for (; end - data >= 64; data += 64)
                for (i = 0; i < 8; i++)
                    row[i] |= picows_word(data + 8 * i);
            for (i = 0; i < 8; i++)
                all |= row[i];
        }
        for (; end - data >= 32; data += 32)
            all |= picows_word(data) | picows_word(data + 8) | picows_word(data + 16)
                | picows_word(data + 24);
        for (; end - data >= 8; data += 8)
            all |= picows_word(data);
        all |= picows_word(end - 8);
        return (all & 0x8080808080808080) == 0;
    }
    /* Nearly all texts are ASCII, and memcpy is faster than CPython's decoder, which looks at the
     * bytes while it copies them. */
    static inline PyObject *picows_text(const uint8_t *data, Py_ssize_t size) {
        PyObject *text;
        if (size < 2 || !picows_is_ascii(data, size))
            return PyUnicode_DecodeUTF8((const char *) data, size, NULL);
        text = PyUnicode_New(size, 0x7F);
        if (text != NULL)
            memcpy(PyUnicode_1BYTE_DATA(text), data, (size_t) size);
        return text;
    }
    """
    # Called per text message; watched by the inbound benches.
    str picows_text(const uint8_t* data, Py_ssize_t size)
