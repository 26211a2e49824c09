cdef class Shared:
    cdef public object cells, scratch, log, head_limits
    cdef public double now, epoch_offset, head_timeout, idle_timeout
    cdef public bint is_stopping
    cdef public unsigned long long requests
    cdef public bytes date_line, request_prefix

    # For compiled callers alone: so a call is a call, and no look for what may stand in its place.
    cdef unsigned long long cell(self, Py_ssize_t index)
    cdef add(self, Py_ssize_t index, long long count)
