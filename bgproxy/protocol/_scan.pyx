# cython: language_level=3, boundscheck=True, wraparound=False
"""The compiled scanner: answers for plain heads and hands every other to the reference readers.

A head is plain if it is complete, within its limits, and made of lines that need no more than to
be kept or dropped. Nothing is refused here: what is not plain, or in any doubt, is read again by
the reference, so that the rules stand in one place. `tests/protocol/test_scan.py` holds the two
together: where the scanner answers, its answer is the reference's, byte for byte.

Bytes are read through indexes that are checked, or by functions that check their range first
(`find_return`, `count_controls`, `part`, `join`).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcpy

from bgproxy.protocol import request, response
from bgproxy.protocol.values import REQUEST_LIMITS, RESPONSE_LIMITS

from bgproxy.protocol.values cimport RequestHead, ResponseHead

cdef enum:
    CHUNKED = -1
    UNTIL_CLOSE = -2
    MOST_CUTS = 8
    MOST_NOTES = 8
    BLOCK_BYTES = 128

# What becomes of a field line.
cdef enum:
    PLAIN
    ODD
    HOST
    LENGTH
    CODING
    CONNECTION
    DROPPED
    ASIDE
    NOTED
    DATE

# What a byte may be part of.
cdef enum:
    IN_NAME = 1
    IN_TARGET = 2
    IN_HOST = 4

cdef unsigned char[256] ALLOWED
cdef bytes GET = b"GET"
cdef bytes CODING_LINE = b"Transfer-Encoding: chunked\r\n"
cdef bytes LINE_END = b" HTTP/1.1\r\n"
cdef bytes LINE_START = b"HTTP/1.1 "


cdef struct Line:
    Py_ssize_t start      # of the name
    Py_ssize_t name_end   # the colon
    Py_ssize_t value      # without the white space around it
    Py_ssize_t value_end
    Py_ssize_t end        # behind the CRLF


cdef struct Section:
    Py_ssize_t end             # where the empty line starts
    Py_ssize_t fields
    Py_ssize_t length          # -1 if none is told
    int connection             # 0 if nothing is said, 1 for keep-alive, 2 for close
    bint has_host
    bint has_coding
    bint has_date
    bint is_changed            # whether more than the case of what goes on differs from what came
    Line host
    Line cuts[MOST_CUTS]       # lines that do not go on as they are
    bint is_coding[MOST_CUTS]  # whether a cut is replaced by CODING_LINE
    Py_ssize_t cut_count
    Line notes[MOST_NOTES]     # lines for the extras
    Py_ssize_t note_count


cdef void fill_allowed() noexcept:
    cdef int byte
    for byte in range(256):
        is_plain = 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122
        ALLOWED[byte] = (
            (IN_NAME if is_plain or byte == c"-" else 0)
            | (IN_TARGET if 32 < byte < 127 and byte != c"#" else 0)
            | (IN_HOST if is_plain or byte in (c"-", c".", c"_") else 0)
        )


fill_allowed()


cdef inline bint may_be(bytes data, Py_ssize_t place, int use) except -1:
    return ALLOWED[<unsigned char> data[place]] & use


cdef Py_ssize_t find_return(bytes data, Py_ssize_t start, Py_ssize_t end) noexcept:
    """Where the next CR of a range is; -1 if there is none."""
    cdef const char *base = PyBytes_AS_STRING(data)
    cdef const char *found
    if not 0 <= start < end <= PyBytes_GET_SIZE(data):
        return -1
    found = <const char *> memchr(base + start, c"\r", end - start)
    return found - base if found is not NULL else -1


cdef Py_ssize_t count_controls(bytes data, Py_ssize_t end) noexcept:
    """How many of the first bytes no field may hold: all controls but HTAB, so CR and LF too."""
    cdef const unsigned char *base = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t stop, place
    cdef unsigned char in_block
    if not 0 <= end <= PyBytes_GET_SIZE(data):
        return -1
    # Counted by blocks whose counter is a byte, which compilers turn into few instructions.
    while start < end:
        stop = min(start + BLOCK_BYTES, end)
        in_block = 0
        for place in range(start, stop):
            in_block += ((base[place] < 32) & (base[place] != 9)) | (base[place] == 127)
        count += in_block
        start = stop
    return count


cdef bytes part(bytes data, Py_ssize_t start, Py_ssize_t end):
    """As ``data[start:end]``, which Cython would do by way of a slice object."""
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        raise IndexError("a part of a head does not lie in it")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, end - start)


cdef bint is_word(bytes data, Py_ssize_t start, Py_ssize_t end, bytes word) except -1:
    """Whether a range says a lower-case word, in whatever case."""
    cdef Py_ssize_t place
    if end - start != PyBytes_GET_SIZE(word):
        return False
    for place in range(start, end):
        if (<unsigned char> data[place]) | 32 != <unsigned char> word[place - start]:
            return False
    return True


cdef bint read_line(bytes data, Py_ssize_t stop, Line *line) except -1:
    """Move on from a line to the next one, a field's; False if that is not plain."""
    cdef Py_ssize_t place = line.end
    cdef Py_ssize_t end = find_return(data, place, stop)
    if end < 0 or data[end + 1] != c"\n":
        return False
    line.start = place
    line.end = end + 2
    while may_be(data, place, IN_NAME):
        place += 1
    if place == line.start or data[place] != c":":
        return False
    line.name_end = place
    place += 1
    while data[place] == c" " or data[place] == c"\t":
        place += 1
    while end > place and (data[end - 1] == c" " or data[end - 1] == c"\t"):
        end -= 1
    line.value = place
    line.value_end = end
    return True


cdef int kind_of(bytes data, Line *line) except -1:
    """What becomes of a field of either direction."""
    cdef Py_ssize_t start = line.start
    cdef Py_ssize_t end = line.name_end
    cdef Py_ssize_t size = end - start
    if size == 10:
        if is_word(data, start, end, b"connection"):
            return CONNECTION
        if is_word(data, start, end, b"keep-alive"):
            return DROPPED
    elif size == 14:
        if is_word(data, start, end, b"content-length"):
            return LENGTH
    elif size == 4:
        if is_word(data, start, end, b"date"):
            return DATE
    elif size == 17:
        if is_word(data, start, end, b"transfer-encoding"):
            return CODING
    elif size == 16:
        if is_word(data, start, end, b"proxy-connection"):
            return DROPPED
    elif size == 7:
        if is_word(data, start, end, b"upgrade"):
            return ODD
    elif size == 2:
        if is_word(data, start, end, b"te"):
            return ODD
    return PLAIN


cdef int request_kind_of(bytes data, Line *line) except -1:
    """What becomes of a client's field."""
    cdef Py_ssize_t start = line.start
    cdef Py_ssize_t end = line.name_end
    cdef Py_ssize_t size = end - start
    if data[start] == c"x" or data[start] == c"X":
        if size >= 12 and is_word(data, start, start + 12, b"x-forwarded-"):
            return ASIDE
        if is_word(data, start, end, b"x-request-id"):
            return NOTED
        if is_word(data, start, end, b"x-real-ip") or is_word(data, start, end, b"x-request-start"):
            return ASIDE
        if is_word(data, start, end, b"x-bgproxy-preview"):
            return ASIDE
        return PLAIN
    if size == 4 and is_word(data, start, end, b"host"):
        return HOST
    if size == 9 and is_word(data, start, end, b"forwarded"):
        return ASIDE
    if is_word(data, start, end, b"expect") or is_word(data, start, end, b"max-forwards"):
        return ODD
    return kind_of(data, line)


cdef bint read_section(
    bytes data, Py_ssize_t start, Py_ssize_t stop, bint is_request, Section *section
) except -1:
    """Read the field lines from `start` on to the empty one; False if they are not plain."""
    cdef Line line
    cdef int kind
    section.fields = section.cut_count = section.note_count = section.connection = 0
    section.has_host = section.has_coding = section.has_date = section.is_changed = False
    section.length = -1
    line.end = start
    while line.end < stop and data[line.end] != c"\r":
        if not read_line(data, stop, &line):
            return False
        section.fields += 1
        kind = request_kind_of(data, &line) if is_request else kind_of(data, &line)
        if kind != PLAIN and not read_special(data, kind, &line, section):
            return False
    section.end = line.end
    # The first line, the empty one and the fields between have a CR and an LF each.
    return (
        line.end < stop
        and data[line.end + 1] == c"\n"
        and count_controls(data, line.end + 2) == 2 * (section.fields + 2)
        and not (section.has_coding and section.length >= 0)
    )


cdef bint read_special(bytes data, int kind, Line *line, Section *section) except -1:
    """Take in a field that is not only kept; False if it is none that the scanner knows."""
    if kind == DATE:
        section.has_date = True
        return True
    if kind == HOST:
        section.host = line[0]
        if section.has_host or not is_plain_host(data, line):
            return False
        section.has_host = True
        return True
    if kind == LENGTH:
        if section.length >= 0:
            return False
        section.length = read_length(data, line)
        return section.length >= 0
    if kind == ASIDE or kind == NOTED:
        if section.note_count == MOST_NOTES:
            return False
        section.notes[section.note_count] = line[0]
        section.note_count += 1
        return kind == NOTED or cut(section, line, False)
    if kind == CODING:
        return not section.has_coding and read_coding(data, line, section)
    if kind == CONNECTION:
        if section.connection:
            return False
        section.connection = read_connection(data, line)
        return section.connection != 0 and cut(section, line, False)
    return kind == DROPPED and cut(section, line, False)


cdef bint cut(Section *section, Line *line, bint is_coding) noexcept:
    """Take a line out of what goes on; False if there are too many of these."""
    if section.cut_count == MOST_CUTS:
        return False
    section.cuts[section.cut_count] = line[0]
    section.is_coding[section.cut_count] = is_coding
    section.is_changed = section.is_changed or not is_coding
    section.cut_count += 1
    return True


cdef bint read_coding(bytes data, Line *line, Section *section) except -1:
    """Take in a line that says chunked, in our spelling; False if it says anything else."""
    cdef Py_ssize_t place
    section.has_coding = True
    # White space behind it is for the reference: llhttp takes blanks there and no tabs.
    if line.value_end + 2 != line.end or not is_word(data, line.value, line.value_end, b"chunked"):
        return False
    if line.end - line.start == PyBytes_GET_SIZE(CODING_LINE):
        for place in range(line.start, line.end):
            if data[place] != CODING_LINE[place - line.start]:
                break
        else:
            return True
    if line.end - line.start != PyBytes_GET_SIZE(CODING_LINE) or data[line.name_end + 1] != c" ":
        section.is_changed = True
    return cut(section, line, True)


cdef Py_ssize_t read_length(bytes data, Line *line) except -2:
    """A length written as we would, of up to 18 digits; -1 if it is anything else."""
    cdef Py_ssize_t size = line.value_end - line.value
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t place
    if not 0 < size <= 18 or (size > 1 and data[line.value] == c"0"):
        return -1
    for place in range(line.value, line.value_end):
        if not c"0" <= data[place] <= c"9":
            return -1
        length = length * 10 + data[place] - c"0"
    return length


cdef int read_connection(bytes data, Line *line) except -1:
    """1 for keep-alive, 2 for close, 0 for anything else."""
    if is_word(data, line.value, line.value_end, b"keep-alive"):
        return 1
    return 2 if is_word(data, line.value, line.value_end, b"close") else 0


cdef bint is_plain_host(bytes data, Line *line) except -1:
    """Whether a value is a name or an IPv4 address, with a port or without."""
    cdef Py_ssize_t place = line.value
    while place < line.value_end and may_be(data, place, IN_HOST):
        place += 1
    if place == line.value:
        return False
    if place == line.value_end:
        return True
    if data[place] != c":" or line.value_end - place > 6:
        return False
    for place in range(place + 1, line.value_end):
        if not c"0" <= data[place] <= c"9":
            return False
    return True


cdef bytes lowered(bytes data, Py_ssize_t start, Py_ssize_t end):
    """A plain name in lower case: the bit that letters need, digits and hyphens have."""
    cdef bytes name = PyBytes_FromStringAndSize(NULL, end - start)
    cdef Py_ssize_t place
    for place in range(start, end):
        PyBytes_AS_STRING(name)[place - start] = data[place] | 32
    return name


cdef dict extras_of(bytes data, Section *section):
    """The noted fields by their lower-case names, or None; empty if a name comes twice."""
    cdef dict extras = {}
    cdef Py_ssize_t n
    cdef Line *line
    if not section.note_count:
        return None
    for n in range(section.note_count):
        line = &section.notes[n]
        name = lowered(data, line.start, line.name_end)
        if name in extras:
            return {}
        extras[name] = part(data, line.value, line.value_end)
    return extras


cdef bytes join(bytes data, Section *section):
    """The head without the lines that were cut, up to the empty line."""
    cdef Py_ssize_t size = section.end
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t n, end
    cdef bytes joined
    cdef char *place
    if not section.cut_count:
        return part(data, 0, section.end)
    for n in range(section.cut_count):
        if not start <= section.cuts[n].start <= section.cuts[n].end <= section.end:
            raise IndexError("a line that is cut out of a head does not lie in it")
        start = section.cuts[n].end
        size += section.cuts[n].start - start
        if section.is_coding[n]:
            size += PyBytes_GET_SIZE(CODING_LINE)
    joined = PyBytes_FromStringAndSize(NULL, size)
    place = PyBytes_AS_STRING(joined)
    start = 0
    for n in range(section.cut_count + 1):
        end = section.cuts[n].start if n < section.cut_count else section.end
        memcpy(place, PyBytes_AS_STRING(data) + start, end - start)
        place += end - start
        if n < section.cut_count:
            start = section.cuts[n].end
            if section.is_coding[n]:
                memcpy(place, PyBytes_AS_STRING(CODING_LINE), PyBytes_GET_SIZE(CODING_LINE))
                place += PyBytes_GET_SIZE(CODING_LINE)
    return joined


cdef bint is_get(bytes data, Py_ssize_t end) except -1:
    return end == 3 and data[0] == c"G" and data[1] == c"E" and data[2] == c"T"


cdef object scan_request(bytes data, tuple limits):
    """A `RequestHead`, or None if this is for the reference."""
    # Where a head must have ended; one byte less than there is, as behind a CR an LF is looked for.
    cdef Py_ssize_t stop = min(PyBytes_GET_SIZE(data), <Py_ssize_t> limits[1]) - 1
    cdef Py_ssize_t place = 0
    cdef Py_ssize_t method_end, target_end, n
    cdef Section section
    cdef dict extras
    cdef RequestHead head
    while place < stop and c"A" <= data[place] <= c"Z":
        place += 1
    method_end = place
    # CONNECT and TRACE have rules of their own.
    if not 0 < place < stop - 1 or data[0] == c"C" or data[0] == c"T":
        return None
    if data[place] != c" " or data[place + 1] != c"/":
        return None
    place += 1
    while place < stop and may_be(data, place, IN_TARGET):
        place += 1
    target_end = place
    if stop - place < 11 or place + 9 > <Py_ssize_t> limits[0]:
        return None
    for n in range(11):
        if data[place + n] != LINE_END[n]:
            return None
    if not read_section(data, place + 11, stop, True, &section):
        return None
    if not section.has_host or section.fields > <Py_ssize_t> limits[2]:
        return None
    extras = extras_of(data, &section)
    if extras is not None and not extras:
        return None
    head = RequestHead.__new__(RequestHead)
    head.end = section.end + 2
    head.method = GET if is_get(data, method_end) else part(data, 0, method_end)
    head.target = part(data, method_end + 1, target_end)
    head.host = part(data, section.host.value, section.host.value_end)
    head.lines = join(data, &section)
    head.length = CHUNKED if section.has_coding else max(section.length, 0)
    head.minor = 1
    head.keep_alive = section.connection != 2
    head.extras = extras
    return head


cdef object scan_response(bytes data, bytes method, tuple limits):
    """A `ResponseHead`, or None if this is for the reference."""
    cdef Py_ssize_t stop = min(PyBytes_GET_SIZE(data), <Py_ssize_t> limits[1]) - 1
    cdef Py_ssize_t place
    cdef Py_ssize_t length
    cdef int status = 0
    cdef bint is_bodiless
    cdef Section section
    cdef ResponseHead head
    if stop < 16:
        return None
    for place in range(9):
        if data[place] != LINE_START[place]:
            return None
    for place in range(9, 12):
        if not c"0" <= data[place] <= c"9":
            return None
        status = status * 10 + data[place] - c"0"
    # Interim answers and 204 lose fields that others keep; 426 keeps one that others lose.
    if not 200 <= status < 600 or status == 204 or data[12] != c" ":
        return None
    place = find_return(data, 12, stop)
    if place < 0 or place > <Py_ssize_t> limits[0] or data[place + 1] != c"\n":
        return None
    if not read_section(data, place + 2, stop, False, &section):
        return None
    is_bodiless = status == 304 or method == b"HEAD"
    if section.fields > <Py_ssize_t> limits[2] or (section.has_coding and is_bodiless):
        return None
    length = section.length
    if length < 0:
        length = CHUNKED if section.has_coding else UNTIL_CLOSE
    if is_bodiless:
        length = 0
    head = ResponseHead.__new__(ResponseHead)
    head.end = section.end + 2
    head.status = status
    head.lines = join(data, &section)
    head.length = length
    head.minor = 1
    head.keep_alive = length != UNTIL_CLOSE and section.connection != 2
    head.has_date = section.has_date
    head.as_is = section.has_date and length != UNTIL_CLOSE and not section.is_changed
    head.extras = None
    return head


def read_request_head(bytes data, limits=REQUEST_LIMITS):
    """As `request.read_request_head`."""
    head = scan_request(data, <tuple> limits)
    return request.read_request_head(data, limits) if head is None else head


def read_response_head(bytes data, bytes method, limits=RESPONSE_LIMITS):
    """As `response.read_response_head`."""
    head = scan_response(data, method, <tuple> limits)
    return response.read_response_head(data, method, limits) if head is None else head


def is_plain_request(bytes data, limits=REQUEST_LIMITS):
    """Whether the scanner answers for a request's head; for tests and measurements."""
    return scan_request(data, <tuple> limits) is not None


def is_plain_response(bytes data, bytes method, limits=RESPONSE_LIMITS):
    """Whether the scanner answers for an answer's head; for tests and measurements."""
    return scan_response(data, method, <tuple> limits) is not None
