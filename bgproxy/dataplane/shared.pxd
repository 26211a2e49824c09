cdef class Shared:
    cdef public unsigned long long[::1] cells
    cdef public object scratch, log
    cdef public double now, epoch_offset, head_timeout, idle_timeout
    cdef public bint is_stopping
    cdef public unsigned long long requests
    cdef public bytes request_prefix
