cimport cython


cdef class BackendState:
    cdef public Py_ssize_t slot, gauge
    cdef public list idle
    cdef public bint is_known, is_ready
    cdef public double ejected_until
    cdef public Py_ssize_t ejections, failures_in_a_row
    cdef public object url, scheme, name, address, authority


cdef class EnvironmentState:
    cdef public Py_ssize_t _base, _clients, codes, reasons
    cdef public object color, _replaced
    cdef public bytes answer_fields
    cdef public list backends, candidates, durations
    cdef public double duration_sum, retry_tokens, noted_at

    @cython.locals(first=BackendState, candidates=list)
    cpdef choose(self, object cells, unsigned long long most, tuple tried=*)


cdef class PreviewState(EnvironmentState):
    pass


cdef class Route:
    cdef public object closure, error_pages, exclude_paths, gate, held, limits, name, preview, queue
    cdef public object timeouts, upstream_tls
    cdef public tuple environments, previews
    cdef public Py_ssize_t slot, word
    cdef public double held_until, idle_timeout, response_timeout
    cdef public unsigned long long max_in_flight
    cdef public bytes hsts
