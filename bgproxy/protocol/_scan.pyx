# cython: language_level=3, boundscheck=True, wraparound=False
"""The compiled scanner: answers for plain heads and hands every other to the reference readers.

Beside it stand `request_head` and `small_answer`, which write what goes on.

A head is plain if it is complete, within its limits, and made of lines that need no more than to
be kept or dropped. Nothing is refused here: what is not plain, or in any doubt, is read again by
the reference, so that the rules stand in one place. `tests/protocol/test_scan.py` holds the two
together: where the scanner answers, its answer is the reference's, byte for byte.

Bytes are read through pointers into a range that was checked first, once for each head: a walk ends
at the range's end, or at a CR in it that was found before. Where a range comes from more than one
place it is checked by who reads it (`count_controls`, `part`, `join`).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from bgproxy.protocol import request, response
from bgproxy.protocol.values import REQUEST_LIMITS, RESPONSE_LIMITS

from bgproxy.protocol.values cimport RequestHead, ResponseHead

cdef enum:
    CHUNKED = -1
    UNTIL_CLOSE = -2
    MOST_CUTS = 8
    MOST_NOTES = 8
    BLOCK_BYTES = 240

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
    STARTS_WORD = 8  # a name that is not PLAIN begins with it

cdef unsigned char[256] ALLOWED
cdef bytes GET = b"GET"
cdef bytes CODING_LINE = b"Transfer-Encoding: chunked\r\n"
cdef bytes LINE_END = b" HTTP/1.1\r\n"
cdef bytes LINE_START = b"HTTP/1.1 "
cdef bytes NUMBER_END = b"\r\nX-Request-Start: t="
cdef bytes HEAD_END = b"\r\n\r\n"
cdef bytes CRLF = b"\r\n"
cdef bytes DIGITS = b"0123456789abcdef"


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
            | (STARTS_WORD if chr(byte | 32) in "cdefhkmptux" else 0)
        )


fill_allowed()


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


cdef bint is_word(const unsigned char *text, Py_ssize_t size, const char *word) noexcept:
    """Whether a text says a lower-case word of its size, in whatever case."""
    cdef Py_ssize_t place
    for place in range(size):
        if text[place] | 32 != word[place]:
            return False
    return True


cdef bint read_line(const unsigned char *base, Py_ssize_t stop, Line *line) noexcept:
    """Move on from a line to the next one, a field's; False if that is not plain.

    Its value is left to `read_value`, as most fields go on whatever they say.
    """
    cdef const unsigned char *start = base + line.end
    cdef const unsigned char *place = start
    cdef const unsigned char *end = <const unsigned char *> memchr(start, c"\r", stop - line.end)
    if end is NULL or end[1] != c"\n":
        return False
    # A CR is no part of a name, so this ends there at the latest.
    while ALLOWED[place[0]] & IN_NAME:
        place += 1
    if place == start or place[0] != c":":
        return False
    line.start = line.end
    line.name_end = place - base
    line.end = end + 2 - base
    return True


cdef void read_value(const unsigned char *base, Line *line) noexcept:
    """Find a field's value between the white space around it."""
    cdef Py_ssize_t start = line.name_end + 1
    cdef Py_ssize_t end = line.end - 2
    while base[start] == c" " or base[start] == c"\t":
        start += 1
    while end > start and (base[end - 1] == c" " or base[end - 1] == c"\t"):
        end -= 1
    line.value = start
    line.value_end = end


# Which word a name may be follows from its size and its first letter: few are compared with any.


cdef int kind_of(const unsigned char *name, Py_ssize_t size) noexcept:
    """What becomes of a field of either direction."""
    cdef unsigned char first = name[0] | 32
    if size == 2:
        return ODD if is_word(name, size, b"te") else PLAIN
    elif size == 4:
        return DATE if first == c"d" and is_word(name, size, b"date") else PLAIN
    elif size == 7:
        return ODD if first == c"u" and is_word(name, size, b"upgrade") else PLAIN
    elif size == 10:
        if first == c"c" and is_word(name, size, b"connection"):
            return CONNECTION
        return DROPPED if first == c"k" and is_word(name, size, b"keep-alive") else PLAIN
    elif size == 14:
        return LENGTH if first == c"c" and is_word(name, size, b"content-length") else PLAIN
    elif size == 16:
        return DROPPED if first == c"p" and is_word(name, size, b"proxy-connection") else PLAIN
    elif size == 17:
        return CODING if first == c"t" and is_word(name, size, b"transfer-encoding") else PLAIN
    return PLAIN


cdef int request_kind_of(const unsigned char *name, Py_ssize_t size) noexcept:
    """What becomes of a client's field."""
    cdef unsigned char first = name[0] | 32
    if first == c"x":
        return own_kind_of(name, size)
    if size == 4:
        if first == c"h" and is_word(name, size, b"host"):
            return HOST
    elif size == 6:
        return ODD if first == c"e" and is_word(name, size, b"expect") else PLAIN
    elif size == 9:
        return ASIDE if first == c"f" and is_word(name, size, b"forwarded") else PLAIN
    elif size == 12:
        return ODD if first == c"m" and is_word(name, size, b"max-forwards") else PLAIN
    return kind_of(name, size)


cdef int own_kind_of(const unsigned char *name, Py_ssize_t size) noexcept:
    """What becomes of a client's field whose name begins with an X."""
    if size >= 12 and is_word(name, 12, b"x-forwarded-"):
        return ASIDE
    if size == 9:
        return ASIDE if is_word(name, size, b"x-real-ip") else PLAIN
    elif size == 12:
        return NOTED if is_word(name, size, b"x-request-id") else PLAIN
    elif size == 15:
        return ASIDE if is_word(name, size, b"x-request-start") else PLAIN
    elif size == 17:
        return ASIDE if is_word(name, size, b"x-bgproxy-preview") else PLAIN
    return PLAIN


cdef bint read_section(
    bytes data, Py_ssize_t start, Py_ssize_t stop, bint is_request, Section *section
) noexcept:
    """Read the field lines from `start` on to the empty one; False if they are not plain."""
    cdef const unsigned char *base = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef const unsigned char *name
    cdef Py_ssize_t size
    cdef Line line
    cdef int kind
    section.fields = section.cut_count = section.note_count = section.connection = 0
    section.has_host = section.has_coding = section.has_date = section.is_changed = False
    section.length = -1
    line.end = start
    # There is one byte more than `stop` says: behind a CR an LF is looked for.
    if not 0 <= start <= stop < PyBytes_GET_SIZE(data):
        return False
    while line.end < stop and base[line.end] != c"\r":
        if not read_line(base, stop, &line):
            return False
        section.fields += 1
        name = base + line.start
        size = line.name_end - line.start
        if not ALLOWED[name[0]] & STARTS_WORD:
            continue
        kind = request_kind_of(name, size) if is_request else kind_of(name, size)
        if kind != PLAIN:
            read_value(base, &line)
            if not read_special(base, kind, &line, section):
                return False
    section.end = line.end
    # The first line, the empty one and the fields between have a CR and an LF each.
    return (
        line.end < stop
        and base[line.end + 1] == c"\n"
        and count_controls(data, line.end + 2) == 2 * (section.fields + 2)
        and not (section.has_coding and section.length >= 0)
    )


cdef bint read_special(
    const unsigned char *base, int kind, Line *line, Section *section
) noexcept:
    """Take in a field that is not only kept; False if it is none that the scanner knows."""
    if kind == DATE:
        section.has_date = True
        return True
    if kind == HOST:
        section.host = line[0]
        if section.has_host or not is_plain_host(base, line):
            return False
        section.has_host = True
        return True
    if kind == LENGTH:
        if section.length >= 0:
            return False
        section.length = read_length(base, line)
        return section.length >= 0
    if kind == ASIDE or kind == NOTED:
        if section.note_count == MOST_NOTES:
            return False
        section.notes[section.note_count] = line[0]
        section.note_count += 1
        return kind == NOTED or cut(section, line, False)
    if kind == CODING:
        return not section.has_coding and read_coding(base, line, section)
    if kind == CONNECTION:
        if section.connection:
            return False
        section.connection = read_connection(base, line)
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


cdef bint says(const unsigned char *base, Line *line, const char *word, Py_ssize_t size) noexcept:
    """Whether a value is a lower-case word of this size, in whatever case."""
    return line.value_end - line.value == size and is_word(base + line.value, size, word)


cdef bint read_coding(const unsigned char *base, Line *line, Section *section) noexcept:
    """Take in a line that says chunked, in our spelling; False if it says anything else."""
    cdef Py_ssize_t size = line.end - line.start
    section.has_coding = True
    # White space behind it is for the reference: llhttp takes blanks there and no tabs.
    if line.value_end + 2 != line.end or not says(base, line, b"chunked", 7):
        return False
    if size == PyBytes_GET_SIZE(CODING_LINE):
        if memcmp(base + line.start, PyBytes_AS_STRING(CODING_LINE), size) == 0:
            return True
    if size != PyBytes_GET_SIZE(CODING_LINE) or base[line.name_end + 1] != c" ":
        section.is_changed = True
    return cut(section, line, True)


cdef Py_ssize_t read_length(const unsigned char *base, Line *line) noexcept:
    """A length written as we would, of up to 18 digits; -1 if it is anything else."""
    cdef Py_ssize_t size = line.value_end - line.value
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t place
    if not 0 < size <= 18 or (size > 1 and base[line.value] == c"0"):
        return -1
    for place in range(line.value, line.value_end):
        if not c"0" <= base[place] <= c"9":
            return -1
        length = length * 10 + base[place] - c"0"
    return length


cdef int read_connection(const unsigned char *base, Line *line) noexcept:
    """1 for keep-alive, 2 for close, 0 for anything else."""
    if says(base, line, b"keep-alive", 10):
        return 1
    return 2 if says(base, line, b"close", 5) else 0


cdef bint is_plain_host(const unsigned char *base, Line *line) noexcept:
    """Whether a value is a name or an IPv4 address, with a port or without."""
    cdef Py_ssize_t place = line.value
    while place < line.value_end and ALLOWED[base[place]] & IN_HOST:
        place += 1
    if place == line.value:
        return False
    if place == line.value_end:
        return True
    if base[place] != c":" or line.value_end - place > 6:
        return False
    for place in range(place + 1, line.value_end):
        if not c"0" <= base[place] <= c"9":
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
    cdef dict extras
    cdef Py_ssize_t n
    cdef Line *line
    if not section.note_count:
        return None
    extras = {}
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


cdef object scan_request(bytes data, tuple limits):
    """A `RequestHead`, or None if this is for the reference."""
    # Where a head must have ended; one byte less than there is, as behind a CR an LF is looked for.
    cdef Py_ssize_t stop = min(PyBytes_GET_SIZE(data), <Py_ssize_t> limits[1]) - 1
    cdef const unsigned char *base = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef const unsigned char *walk = base
    cdef Py_ssize_t place, method_end, target_end
    cdef Section section
    cdef dict extras
    cdef RequestHead head
    # Behind all bytes there is a NUL, which is part of nothing: walks end there at the latest.
    while c"A" <= walk[0] <= c"Z":
        walk += 1
    place = method_end = walk - base
    # CONNECT and TRACE have rules of their own.
    if not 0 < place < stop - 1 or base[0] == c"C" or base[0] == c"T":
        return None
    if base[place] != c" " or base[place + 1] != c"/":
        return None
    walk += 1
    while ALLOWED[walk[0]] & IN_TARGET:
        walk += 1
    place = target_end = walk - base
    if stop - place < 11 or place + 9 > <Py_ssize_t> limits[0]:
        return None
    if memcmp(base + place, PyBytes_AS_STRING(LINE_END), 11) != 0:
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
    # Most are this, and are spared a value of their own.
    if method_end == 3 and memcmp(base, PyBytes_AS_STRING(GET), 3) == 0:
        head.method = GET
    else:
        head.method = part(data, 0, method_end)
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
    cdef const unsigned char *base = <const unsigned char *> PyBytes_AS_STRING(data)
    cdef const unsigned char *line_end
    cdef Py_ssize_t place
    cdef Py_ssize_t length
    cdef int status = 0
    cdef bint is_bodiless
    cdef Section section
    cdef ResponseHead head
    if stop < 16 or memcmp(base, PyBytes_AS_STRING(LINE_START), 9) != 0:
        return None
    for place in range(9, 12):
        if not c"0" <= base[place] <= c"9":
            return None
        status = status * 10 + base[place] - c"0"
    # Interim answers and 204 lose fields that others keep; 426 keeps one that others lose.
    if not 200 <= status < 600 or status == 204 or base[12] != c" ":
        return None
    line_end = <const unsigned char *> memchr(base + 12, c"\r", stop - 12)
    if line_end is NULL or line_end[1] != c"\n" or line_end - base > <Py_ssize_t> limits[0]:
        return None
    if not read_section(data, line_end - base + 2, stop, False, &section):
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


def read_request_head(bytes data not None, limits=REQUEST_LIMITS):
    """As `request.read_request_head`."""
    head = scan_request(data, <tuple> limits)
    return request.read_request_head(data, limits) if head is None else head


def read_response_head(bytes data not None, bytes method, limits=RESPONSE_LIMITS):
    """As `response.read_response_head`."""
    head = scan_response(data, method, <tuple> limits)
    return response.read_response_head(data, method, limits) if head is None else head


def is_plain_request(bytes data not None, limits=REQUEST_LIMITS):
    """Whether the scanner answers for a request's head; for tests and measurements."""
    return scan_request(data, <tuple> limits) is not None


def is_plain_response(bytes data not None, bytes method, limits=RESPONSE_LIMITS):
    """Whether the scanner answers for an answer's head; for tests and measurements."""
    return scan_response(data, method, <tuple> limits) is not None


cdef enum:
    MOST_DIGITS = 20  # of 2**64 - 1 in decimal


cdef inline Py_ssize_t write_digits(unsigned long long value, unsigned int base, char *end) noexcept:
    """Write a number so that it ends there, and say how many digits that took."""
    cdef Py_ssize_t count = 0
    while True:
        count += 1
        end[-count] = PyBytes_AS_STRING(DIGITS)[value % base]
        value //= base
        if not value:
            return count


cdef char *put(char *place, const char *text, Py_ssize_t size) noexcept:
    """Copy a text, and say where the next one goes."""
    memcpy(place, text, size)
    return place + size


def request_head(
    bytes lines not None, bytes fields not None, unsigned long long number, double milliseconds
):
    """As `render.request_head`."""
    cdef char[MOST_DIGITS] number_digits
    cdef char[MOST_DIGITS] time_digits
    cdef char *number_end = number_digits + MOST_DIGITS
    cdef char *time_end = time_digits + MOST_DIGITS
    cdef Py_ssize_t number_size = write_digits(number, 16, number_end)
    cdef Py_ssize_t time_size = write_digits(<unsigned long long> milliseconds, 10, time_end)
    cdef Py_ssize_t own_size = PyBytes_GET_SIZE(NUMBER_END) + PyBytes_GET_SIZE(HEAD_END)
    cdef bytes head = PyBytes_FromStringAndSize(
        NULL,
        PyBytes_GET_SIZE(lines) + PyBytes_GET_SIZE(fields) + number_size + time_size + own_size,
    )
    cdef char *place = PyBytes_AS_STRING(head)
    place = put(place, PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines))
    place = put(place, PyBytes_AS_STRING(fields), PyBytes_GET_SIZE(fields))
    place = put(place, number_end - number_size, number_size)
    place = put(place, PyBytes_AS_STRING(NUMBER_END), PyBytes_GET_SIZE(NUMBER_END))
    place = put(place, time_end - time_size, time_size)
    put(place, PyBytes_AS_STRING(HEAD_END), PyBytes_GET_SIZE(HEAD_END))
    return head


def small_answer(bytes lines not None, bytes fields not None, bytes data not None, Py_ssize_t end):
    """As `render.small_answer`."""
    cdef Py_ssize_t body_size = PyBytes_GET_SIZE(data) - end
    cdef bytes answer
    cdef char *place
    if not 0 <= end <= PyBytes_GET_SIZE(data):
        raise IndexError("the head of an answer does not end in what came of it")
    answer = PyBytes_FromStringAndSize(
        NULL, PyBytes_GET_SIZE(lines) + PyBytes_GET_SIZE(fields) + PyBytes_GET_SIZE(CRLF) + body_size
    )
    place = PyBytes_AS_STRING(answer)
    place = put(place, PyBytes_AS_STRING(lines), PyBytes_GET_SIZE(lines))
    place = put(place, PyBytes_AS_STRING(fields), PyBytes_GET_SIZE(fields))
    place = put(place, PyBytes_AS_STRING(CRLF), PyBytes_GET_SIZE(CRLF))
    put(place, PyBytes_AS_STRING(data) + end, body_size)
    return answer
