cimport cython


cdef class ChunkedReader:
    cdef public object _fault
    cdef public bint _keep_framing, is_done
    cdef public int _state
    cdef public long long _left, payload_bytes
    cdef public Py_ssize_t _extension_bytes, _max_trailer_bytes, _trailer_bytes
    cdef public bytes _partial, trailers
    cdef public list out

    @cython.locals(
        position=cython.Py_ssize_t,
        run=cython.Py_ssize_t,
        size=cython.Py_ssize_t,
        line_end=cython.Py_ssize_t,
    )
    cpdef feed(self, bytes data)

    @cython.locals(
        digits=bytes,
        last=cython.Py_ssize_t,
        start=cython.Py_ssize_t,
        end=cython.Py_ssize_t,
        payload="long long",
    )
    cpdef _pass_whole_chunks(self, bytes data, Py_ssize_t position)

    @cython.locals(end=cython.Py_ssize_t)
    cpdef _pass_payload(self, bytes data, Py_ssize_t position)

    cpdef _write(self, bytes data, Py_ssize_t start, Py_ssize_t end)
    cpdef _append(self, bytes data, Py_ssize_t start, Py_ssize_t end)
    cpdef _most_line_bytes(self)
    cpdef _read_line(self, bytes line)
