cdef class Shared:
    cdef public object cells, scratch, log
    cdef public double now, epoch_offset, head_timeout, idle_timeout
    cdef public bint is_stopping
    cdef public unsigned long long requests
    cdef public bytes request_prefix
