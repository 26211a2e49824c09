cimport cython

from bgproxy.dataplane.durations cimport Durations
from bgproxy.dataplane.shared cimport Shared
from bgproxy.protocol.values cimport RequestHead


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
    cdef public list backends, candidates
    cdef public Durations durations
    cdef public double retry_tokens, noted_at

    @cython.locals(first=BackendState, candidates=list)
    cpdef choose(self, Shared shared, unsigned long long most, tuple tried=*)


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


cdef class Routing:
    cpdef Route find(self, RequestHead head)


cdef class Routes(Routing):
    cdef public object limits, table, trusted
    cdef object _router, _worker
    cdef dict _apart, _backends, _services
    cdef Route _only

    @cython.locals(only=Route)
    cpdef Route find(self, RequestHead head)


cdef class RoutesApart(Routing):
    cdef Routes _routes
    cdef object _address

    cpdef Route find(self, RequestHead head)
