cdef class RequestHead:
    cdef public Py_ssize_t end
    cdef public bytes method, target, host, lines
    cdef public long long length
    cdef public int minor
    cdef public bint keep_alive
    cdef public dict extras


cdef class ResponseHead:
    cdef public Py_ssize_t end
    cdef public int status
    cdef public bytes lines
    cdef public long long length
    cdef public int minor
    cdef public bint keep_alive, has_date, as_is
    cdef public dict extras
