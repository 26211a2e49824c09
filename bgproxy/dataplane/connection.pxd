from bgproxy.dataplane.shared cimport Shared


cdef class ClientConnection:
    cdef public Shared worker
    cdef public object transport, client, upstream, pending
    cdef public int phase, _stops
    cdef public double deadline, quiet_since, _linger_until
    cdef public bint is_client_done, is_trusted, is_write_paused
    cdef public bytes scheme
    cdef public Py_ssize_t _unsent

    cpdef stop_reading(self, int why=*)
    cpdef go_on_reading(self, int why=*)
