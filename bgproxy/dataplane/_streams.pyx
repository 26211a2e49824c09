# cython: language_level=3, boundscheck=True, wraparound=False
"""Sockets read and written without a library in between; transports to the connections on them.

What the event loop does between the kernel and a protocol (two calls, a view and two copies for
every read) costs as much as the rest of a request. Here all sockets of a worker are watched by one
epoll instance, which the loop watches in its turn: it calls once for everything that has happened.

A `Stream` is to its protocol what the loop's own transport is (PEP 3156): the same calls in the
same order, `connection_lost` always on a later turn of the loop. Only how bytes arrive differs:
a small read as an object (`data_received`), a large one in the shared buffer (`buffer_updated`).
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.errno cimport (
    EAGAIN,
    ECONNABORTED,
    EINTR,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    errno,
)
from libc.stdint cimport uint32_t
from libc.string cimport memset
from posix.unistd cimport close

import os
import socket

from bgproxy.dataplane import pieces
from bgproxy.dataplane.shared cimport Shared


cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC

    ctypedef union epoll_data_t:
        int fd

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout)


cdef extern from "sys/uio.h" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len


cdef extern from "sys/socket.h" nogil:
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        MSG_NOSIGNAL
        SHUT_WR
        AF_INET
        AF_INET6

    ctypedef unsigned short sa_family_t

    struct sockaddr:
        sa_family_t sa_family

    struct sockaddr_storage:
        sa_family_t ss_family

    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen

    ctypedef unsigned int socklen_t

    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
    int shutdown(int fd, int how)


cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

    struct in_addr:
        pass

    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr

    unsigned short ntohs(unsigned short number)


cdef extern from "arpa/inet.h" nogil:
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size)


cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY


cdef enum:
    MOST_EVENTS = 256
    MOST_TURNS = 4
    MOST_READS = 8
    MOST_ACCEPTED = 64
    MOST_PIECES = 16
    JOINED_BYTES = 4096
    ADDRESS_BYTES = 64

cdef int LARGE_BYTES = pieces.LARGE_BYTES
cdef double PAUSE_SECONDS = 0.1
"""How long nothing is accepted where the process or the machine is out of descriptors."""


cdef object error_of(int number):
    return OSError(number, os.strerror(number))


cdef class Poller:
    """Watches the sockets of one worker.

    Args:
        loop: calls whenever something has happened on any of them.
        shared: whose scratch buffer is read into.
    """

    cdef readonly object loop
    cdef Shared _shared
    cdef int _epoll
    cdef list _by_fd

    def __init__(self, loop, Shared shared):
        self.loop = loop
        self._shared = shared
        self._by_fd = []
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise error_of(errno)
        loop.add_reader(self._epoll, self._poll)

    def close(self):
        """Watch nothing any more; streams that are left end at once, and hear of it no more."""
        cdef Watched watched
        if self._epoll < 0:
            return
        self.loop.remove_reader(self._epoll)
        for watched in [each for each in self._by_fd if each is not None]:
            watched.let_go()
        close(self._epoll)
        self._epoll = -1

    def _poll(self):
        """Deal with what has happened; a few times over, as more happens meanwhile."""
        cdef epoll_event[MOST_EVENTS] events
        cdef int turn, number, count
        cdef Watched watched
        for turn in range(MOST_TURNS):
            count = epoll_wait(self._epoll, events, MOST_EVENTS, 0)
            for number in range(count):
                # A socket that was closed meanwhile is not there, or is another by now, to which
                # an event too many does nothing.
                watched = self._by_fd[events[number].data.fd]
                if watched is not None:
                    watched.happened(events[number].events)
            if not count:
                break

    cdef int add(self, Watched watched) except -1:
        if watched.fd < 0:
            raise ValueError("a socket without a descriptor cannot be watched")
        while len(self._by_fd) <= watched.fd:
            self._by_fd.append(None)
        self._by_fd[watched.fd] = watched
        return 0

    cdef int remove(self, Watched watched) except -1:
        self._by_fd[watched.fd] = None
        return 0


cdef class Watched:
    """A socket and what it is watched for."""

    cdef Poller _poller
    cdef int fd
    cdef uint32_t _interest

    cdef int watch(self, uint32_t interest) except -1:
        """Be told of these events from now on; of none, not even of errors, where there are none.

        Taken out by name, as a descriptor made from this one would keep the kernel's entry alive.
        """
        cdef epoll_event event
        cdef int operation = EPOLL_CTL_MOD
        if interest == self._interest:
            return 0
        if not interest:
            operation = EPOLL_CTL_DEL
        elif not self._interest:
            operation = EPOLL_CTL_ADD
        event.events = interest
        event.data.fd = self.fd
        if epoll_ctl(self._poller._epoll, operation, self.fd, &event) and operation != EPOLL_CTL_DEL:
            raise error_of(errno)
        self._interest = interest
        return 0

    cdef int happened(self, uint32_t events) except -1:
        """Deal with events; what a protocol raises does not get out."""
        return 0

    cdef int let_go(self) except -1:
        """Close the socket."""
        if self.fd >= 0:
            self.watch(0)
            self._poller.remove(self)
            close(self.fd)
            self.fd = -1
        return 0


cdef class Listener(Watched):
    """Accepts connections of a listening socket.

    Args:
        sock: listens already; closed with this.
        accept: makes the protocol of each connection.
    """

    cdef object _sock, _accept
    cdef bint _is_closed, _is_short

    def __init__(self, Poller poller, sock, accept):
        sock.setblocking(False)
        self._poller = poller
        self._sock = sock
        self._accept = accept
        self.fd = sock.fileno()
        poller.add(self)
        self.watch(EPOLLIN)

    def close(self):
        """Accept no more, and close the socket."""
        if not self._is_closed:
            self._is_closed = True
            self.let_go()

    cdef int let_go(self) except -1:
        self._is_closed = True
        if self.fd >= 0:
            self.watch(0)
            self._poller.remove(self)
            self.fd = -1
            self._sock.close()
        return 0

    def _go_on(self):
        if not self._is_closed:
            self.watch(EPOLLIN)

    cdef int happened(self, uint32_t events) except -1:
        cdef sockaddr_storage address
        cdef socklen_t size
        cdef int number, fd
        for number in range(MOST_ACCEPTED):
            if self._is_closed:
                return 0
            size = sizeof(address)
            fd = accept4(self.fd, <sockaddr *> &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self._is_short = False
                self._enter(fd, &address)
            elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self._pause(errno)
                return 0
            elif errno != ECONNABORTED and errno != EINTR:
                return 0
        return 0

    cdef int _enter(self, int fd, sockaddr_storage *address) except -1:
        cdef Stream stream
        stream = Stream.__new__(Stream)
        stream.take(self._poller, fd)
        stream.keep_peer(address)
        try:
            stream.begin(self._accept())
        except Exception as error:
            stream.fail(error)
        return 0

    cdef int _pause(self, int number) except -1:
        """What is queued would wake the loop again and again; said once until it is over."""
        loop = self._poller.loop
        self.watch(0)
        loop.call_later(PAUSE_SECONDS, self._go_on)
        if not self._is_short:
            self._is_short = True
            error = error_of(number)
            message = "connections wait, as there is no room to accept them"
            loop.call_exception_handler(
                {"message": message, "exception": error, "socket": self._sock}
            )
        return 0


@cython.no_gc_clear
cdef class Stream(Watched):
    """A connected socket; `connect` and `Listener` make them."""

    cdef object _protocol, _data_received, _buffer_updated
    cdef object _sock, _peer
    cdef list _unsent
    cdef Py_ssize_t _unsent_bytes, _high, _low
    cdef bint _is_paused, _is_protocol_paused, _is_closing, _is_lost, _has_ended, _is_shut

    # -- what makes and ends one ----------------------------------------------------------------

    cdef int take(self, Poller poller, int fd) except -1:
        cdef int yes = 1
        self._poller = poller
        self.fd = fd
        self._unsent = []
        self._high = 64 * 1024
        self._low = 16 * 1024
        poller.add(self)
        # Not every socket has it; those of the file system have no such delay.
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes))
        return 0

    cdef int keep_peer(self, sockaddr_storage *address) except -1:
        """Remember an IPv4 address; others are asked for when they are wanted."""
        cdef char[ADDRESS_BYTES] text
        cdef sockaddr_in *inet = <sockaddr_in *> address
        if address.ss_family == AF_INET and inet_ntop(AF_INET, &inet.sin_addr, text, sizeof(text)):
            self._peer = ((<bytes> text).decode("ascii"), ntohs(inet.sin_port))
        return 0

    cdef int begin(self, protocol) except -1:
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._look()
        return 0

    cdef int _look(self) except -1:
        """Watch for what is wanted now."""
        cdef uint32_t interest = 0
        if self._is_lost:
            return 0
        if not (self._is_paused or self._is_closing or self._has_ended):
            interest = EPOLLIN
        if self._unsent:
            interest |= EPOLLOUT
        return self.watch(interest)

    cdef int fail(self, error) except -1:
        """End it for an error; one that is not the network's is reported, too."""
        self._lose(error)
        if not isinstance(error, OSError):
            self._poller.loop.call_exception_handler(
                {
                    "message": "a protocol failed",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        return 0

    cdef int _lose(self, error) except -1:
        """Watch it no more; the protocol hears of it on the loop's next turn."""
        if self._is_lost:
            return 0
        self.watch(0)
        self._is_closing = self._is_lost = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._poller.loop.call_soon(self._end, error)
        return 0

    def _end(self, error):
        protocol, self._protocol = self._protocol, None
        self._data_received = self._buffer_updated = None
        try:
            if protocol is not None and self.fd >= 0:
                protocol.connection_lost(error)
        finally:
            self.let_go()

    cdef int let_go(self) except -1:
        self._is_closing = self._is_lost = True
        if self._sock is not None:
            self._sock.detach()
            self._sock = None
        return Watched.let_go(self)

    # -- what has happened ----------------------------------------------------------------------

    cdef int happened(self, uint32_t events) except -1:
        try:
            if events & ~(<uint32_t> EPOLLOUT) and self._interest & EPOLLIN:
                self._read()
            if events & ~(<uint32_t> EPOLLIN) and self._unsent:
                self._flush()
        except Exception as error:
            self.fail(error)
        return 0

    cdef int _read(self) except -1:
        """Read once, and a few times more where the buffer was too small for what had come."""
        cdef object scratch
        cdef char *start
        cdef ssize_t size, count
        cdef int turn
        for turn in range(MOST_READS):
            scratch = self._poller._shared.scratch
            start = <char *> PyMemoryView_GET_BUFFER(scratch).buf
            size = PyMemoryView_GET_BUFFER(scratch).len
            count = recv(self.fd, start, size, 0)
            if count >= LARGE_BYTES:
                self._buffer_updated(count)
            elif count > 0:
                self._data_received(PyBytes_FromStringAndSize(start, count))
            elif count == 0:
                self._take_end()
            elif errno != EAGAIN and errno != EINTR:
                self._lose(error_of(errno))
            if count < size or not self._interest & EPOLLIN:
                break
        return 0

    cdef int _take_end(self) except -1:
        self._has_ended = True
        if self._protocol.eof_received():
            self._look()
        else:
            self.close()
        return 0

    cdef int _flush(self) except -1:
        """Send what waits; then tell who waited for that."""
        cdef ssize_t count
        while self._unsent:
            piece = self._unsent[0]
            count = self._send(piece)
            if count < 0:
                return 0
            self._unsent_bytes -= count
            if count < len(piece):
                self._unsent[0] = memoryview(piece)[count:]
                break
            del self._unsent[0]
        self._look()
        if self._is_protocol_paused and self._unsent_bytes <= self._low:
            self._is_protocol_paused = False
            self._protocol.resume_writing()
        if not self._unsent and not self._is_lost:
            if self._is_closing:
                self._lose(None)
            elif self._is_shut:
                shutdown(self.fd, SHUT_WR)
        return 0

    cdef ssize_t _send(self, data) except -2:
        """Send what the kernel takes of it now; -1 where the connection is gone."""
        cdef Py_buffer view
        cdef ssize_t count
        cdef int number
        if PyBytes_CheckExact(data):
            count = send(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL)
            number = errno
        else:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            count = send(self.fd, view.buf, view.len, MSG_NOSIGNAL)
            number = errno
            PyBuffer_Release(&view)
        return count if count >= 0 else self._not_sent(number)

    cdef ssize_t _not_sent(self, int number) except -2:
        """0 where it may be tried again; -1 where not, and then the connection is lost."""
        if number == EAGAIN or number == EINTR:
            return 0
        self._lose(error_of(number))
        return -1

    cdef ssize_t _send_together(self, list parts) except -2:
        """As `_send`, of up to so many pieces."""
        cdef Py_buffer[MOST_PIECES] views
        cdef iovec[MOST_PIECES] vector
        cdef msghdr message
        cdef ssize_t count = 0
        cdef int number = 0, taken = 0
        memset(&message, 0, sizeof(message))
        try:
            for part in parts:
                PyObject_GetBuffer(part, &views[taken], PyBUF_SIMPLE)
                vector[taken].iov_base = views[taken].buf
                vector[taken].iov_len = views[taken].len
                taken += 1
            message.msg_iov = vector
            message.msg_iovlen = taken
            count = sendmsg(self.fd, &message, MSG_NOSIGNAL)
            number = errno
        finally:
            while taken:
                taken -= 1
                PyBuffer_Release(&views[taken])
        return count if count >= 0 else self._not_sent(number)

    cdef int _keep(self, piece, Py_ssize_t sent) except -1:
        """Keep what the kernel did not take of a piece."""
        rest = memoryview(piece)[sent:] if sent else piece
        self._unsent.append(rest)
        self._unsent_bytes += len(rest)
        return 0

    cdef int _wait(self) except -1:
        """Watch for room; the protocol is told when it is ahead by too much."""
        self._look()
        if not self._is_protocol_paused and self._unsent_bytes > self._high:
            self._is_protocol_paused = True
            self._protocol.pause_writing()
        return 0

    # -- a transport ----------------------------------------------------------------------------

    def write(self, data):
        """Send now what the kernel takes, and the rest as soon as it takes more."""
        cdef ssize_t count = 0
        if self._is_lost or self._is_shut or not data:
            return
        if not self._unsent:
            count = self._send(data)
            if count < 0 or count == len(data):
                return
        self._keep(data, count)
        self._wait()

    def writelines(self, parts):
        """Send pieces together."""
        cdef list kept = list(parts)
        cdef Py_ssize_t size = 0
        cdef ssize_t count
        for part in kept:
            size += len(part)
        if len(kept) < 2 or size <= JOINED_BYTES or len(kept) > MOST_PIECES:
            self.write(b"".join(kept))
            return
        if self._is_lost or self._is_shut:
            return
        count = 0 if self._unsent else self._send_together(kept)
        if count < 0 or count == size:
            return
        for part in kept:
            if count < len(part):
                self._keep(part, count)
                count = 0
            else:
                count -= len(part)
        self._wait()

    def write_eof(self):
        """Send no more than what is written already."""
        if self._is_lost or self._is_shut:
            return
        self._is_shut = True
        if not self._unsent:
            shutdown(self.fd, SHUT_WR)

    def can_write_eof(self):
        """Every socket of this kind has two directions."""
        return True

    def get_write_buffer_size(self):
        """Bytes that the kernel has not taken."""
        return self._unsent_bytes

    def set_write_buffer_limits(self, high=None, low=None):
        """How much may wait before the protocol is paused, and how little ends that."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self):
        """Leave bytes in the kernel."""
        self._is_paused = True
        self._look()

    def resume_reading(self):
        """Take bytes again."""
        self._is_paused = False
        self._look()

    def is_reading(self):
        """Whether bytes are taken."""
        return not (self._is_paused or self._is_closing or self._has_ended)

    def is_closing(self):
        """Whether it is closed, or about to be."""
        return self._is_closing

    def close(self):
        """Send what is written, then end."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._unsent:
            self._look()
        else:
            self._lose(None)

    def abort(self):
        """End now."""
        self._lose(None)

    def set_protocol(self, protocol):
        """Who is told from now on."""
        self._protocol = protocol
        self._data_received = protocol.data_received
        self._buffer_updated = protocol.buffer_updated

    def get_protocol(self):
        """Who is told."""
        return self._protocol

    def get_extra_info(self, name, default=None):
        """The socket, or who is at its other end."""
        if self.fd < 0:
            return default
        if name == "peername" and self._peer is not None:
            return self._peer
        if self._sock is None:
            self._sock = socket.socket(fileno=self.fd)
        if name == "socket":
            return self._sock
        try:
            if name == "peername":
                self._peer = self._sock.getpeername()
                return self._peer
            if name == "sockname":
                return self._sock.getsockname()
        except OSError:
            pass
        return default


def connect(Poller poller, int fd, protocol):
    """A stream of a socket that is connected; it takes the descriptor over."""
    cdef Stream stream = Stream.__new__(Stream)
    stream.take(poller, fd)
    try:
        stream.begin(protocol)
    except BaseException:
        stream.let_go()
        raise
    return stream
