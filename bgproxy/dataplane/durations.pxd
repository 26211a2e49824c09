cimport cython


cdef class Durations:
    cdef list _counts
    cdef double _sum

    @cython.locals(bounds=tuple, bucket=cython.Py_ssize_t, bound=cython.double)
    cpdef add(self, double seconds)
