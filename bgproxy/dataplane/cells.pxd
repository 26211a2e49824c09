from bgproxy.dataplane.shared cimport Shared


cdef class SharedCells(Shared):
    cdef unsigned long long[::1] _view

    cdef unsigned long long cell(self, Py_ssize_t index)
    cdef add(self, Py_ssize_t index, long long count)
