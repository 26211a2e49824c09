cimport cython

from bgproxy.dataplane.exchange cimport Exchange
from bgproxy.dataplane.routes cimport Route
from bgproxy.dataplane.shared cimport Shared
from bgproxy.dataplane.upstream cimport Upstream
from bgproxy.protocol.values cimport RequestHead, ResponseHead


cdef class Downstream(Exchange):
    cdef public bytes _forwarded, _partial
    cdef public object _forwarded_host
    cdef public long long body_mark
    cdef public bint is_kept_alive, takes_answer_as_is

    @cython.locals(
        worker=Shared,
        head=RequestHead,
        method=bytes,
        route=Route,
        length="long long",
        end=cython.Py_ssize_t,
    )
    cpdef _read(self, bytes data)

    @cython.locals(worker=Shared, head=RequestHead, milliseconds=cython.double, patience=cython.double)
    cpdef send(self, Upstream upstream)

    @cython.locals(lines=bytes, date=bytes, size=cython.Py_ssize_t)
    cpdef begin_answer(self, ResponseHead head, data, Py_ssize_t end)

    @cython.locals(lines=bytes)
    cpdef bytes _answer_lines(self, ResponseHead head)

    @cython.locals(upstream=Upstream, status=cython.int, now=cython.double)
    cpdef answer_over(self)
