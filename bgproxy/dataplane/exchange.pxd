cimport cython

from bgproxy.dataplane.connection cimport ClientConnection
from bgproxy.dataplane.routes cimport BackendState, EnvironmentState, Route, Routing
from bgproxy.dataplane.shared cimport Shared
from bgproxy.dataplane.upstream cimport Upstream
from bgproxy.protocol.values cimport RequestHead, ResponseHead


cdef class Exchange(ClientConnection):
    cdef public RequestHead head
    cdef public Route route
    cdef public EnvironmentState environment
    cdef public BackendState backend
    cdef public unsigned long long generation, number
    cdef public Routing routes
    cdef public object body, tunnel, span, trouble
    cdef public bytes method
    cdef public int status
    cdef public double started
    cdef public long long body_left
    cdef public bint may_be_repeated
    cdef public tuple tried

    cpdef send(self, Upstream upstream)
    cpdef begin_answer(self, ResponseHead head, data, Py_ssize_t end)
    cpdef answer_over(self)

    @cython.locals(
        worker=Shared,
        word="unsigned long long",
        route=Route,
        environment=EnvironmentState,
        backend=BackendState,
    )
    cpdef claim(self)

    @cython.locals(upstream=Upstream, idle=list)
    cpdef send_on_idle(self)

    @cython.locals(
        route=Route,
        environment=EnvironmentState,
        backend=BackendState,
        worker=Shared,
        ended=cython.double,
    )
    cpdef record(self, int code, reason)
