"""HTTP/1.1 without I/O: bytes in, values out, bytes to write out.

*head*: the first line and the fields of a message. *lines*: a head as it goes on, each line with
its CRLF and without the empty one that ends it, so that fields can be added behind. *extras*:
fields that were set aside, because they must not go on as they came or because somebody has to
look at them. *framing*: how the end of a body is told. *reference*: the readers in plain Python,
which know every rule; *scanner*: a compiled reader of plain heads, which leaves the rest to them.
"""
