cimport cython

from bgproxy.dataplane.exchange cimport Exchange
from bgproxy.dataplane.routes cimport BackendState
from bgproxy.dataplane.shared cimport Shared
from bgproxy.protocol.values cimport ResponseHead


cdef class Upstream:
    cdef public Shared worker
    cdef public BackendState backend
    cdef public Exchange exchange
    cdef public object transport, _reader
    cdef public bytes _partial
    cdef public int phase, _interim
    cdef public long long _left, _length
    cdef public int _spare
    cdef public double idle_since
    cdef public bint is_reusable, is_reused, _stopped, _has_ended

    cpdef bint is_usable(self, bint may_fail)

    @cython.locals(backend=BackendState)
    cpdef rest(self)
    cpdef begin(self, Exchange exchange, bytes request)
    cpdef go_on_reading(self)

    @cython.locals(head=ResponseHead, length="long long", left="long long")
    cpdef _begin_body(self, Exchange exchange, ResponseHead head, data, Py_ssize_t size)

    @cython.locals(head=ResponseHead)
    cpdef _read_large(self, Exchange exchange, Py_ssize_t nbytes)

    @cython.locals(head=ResponseHead, length="long long")
    cpdef _read_head(self, Exchange exchange, bytes data)
