"""Requests that two readers could read differently: refused, closed, and nothing behind them read.

Many of the cases re-create ideas of gunicorn's ``tests/requests``, aiohttp's and llhttp's parser
tests, and the differences that http-garden found between servers.
"""
# ruff: noqa: E501 - a table reads best with one case per line

from __future__ import annotations

import re

import pytest

from tests.wire.wire import SMUGGLED, Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

_POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def _length(value: bytes) -> bytes:
    return _POST + b"Content-Length: %b\r\n\r\nhello" % value


def _coding(value: bytes) -> bytes:
    return _POST + b"Transfer-Encoding: %b\r\n\r\n5\r\nhello\r\n0\r\n\r\n" % value


REFUSED: list[tuple[str, str, bytes, int]] = [
    # -- framing: RFC 9112 section 6 --
    ("6.1", "both lengths", _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("6.1", "both, other order", _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
    ("6.1", "both, empty length", _POST + b"Transfer-Encoding: chunked\r\nContent-Length:\r\n\r\n", 400),
    ("6.1", "both with upgrade", _POST + b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 5\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n", 400),
    ("6.3", "two lengths that differ", _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("6.3", "two equal lengths", _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("6.3", "list of lengths", _length(b"5, 5"), 400),
    ("6.3", "list of two lengths", _length(b"5,6"), 400),
    ("6.3", "empty length", _length(b""), 400),
    ("6.3", "signed length", _length(b"+5"), 400),
    ("6.3", "negative length", _length(b"-5"), 400),
    ("6.3", "negative zero", _length(b"-0"), 400),
    ("6.3", "hexadecimal length", _length(b"0x5"), 400),
    ("6.3", "length with a dot", _length(b"5.0"), 400),
    ("6.3", "length with an exponent", _length(b"5e0"), 400),
    ("6.3", "length with underscore", _length(b"1_0"), 400),
    ("6.3", "length with a space inside", _length(b"5 5"), 400),
    ("6.3", "length in quotes", _length(b'"5"'), 400),
    ("6.3", "length with form feed", _length(b"\x0c5"), 400),
    ("6.3", "length with vertical tab", _length(b"5\x0b"), 400),
    ("6.3", "length of other digits", _length("\u0665".encode()), 400),
    ("6.3", "superscript length", _length(b"\xb2"), 400),
    ("6.3", "length beyond 64 bits", _length(b"18446744073709551621"), 400),
    ("6.3", "length of 63 bits and one", _length(b"9223372036854775808"), 400),
    ("6.3", "length of 400 digits", _length(b"9" * 400), 400),
    ("6.1", "unknown coding", _coding(b"xchunked"), 400),
    ("6.1", "identity", _coding(b"identity"), 400),
    ("6.1", "chunked, identity", _coding(b"chunked, identity"), 400),
    ("6.1", "identity, chunked", _coding(b"identity, chunked"), 501),
    ("6.1", "gzip, chunked", _coding(b"gzip, chunked"), 501),
    ("6.1", "gzip alone", _coding(b"gzip"), 400),
    ("6.1", "chunked twice", _coding(b"chunked, chunked"), 400),
    ("6.1", "chunked in two fields", _POST + b"Transfer-Encoding: chunked\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n", 400),
    ("6.1", "coding in two fields", _POST + b"Transfer-Encoding: chunked\r\n"
     b"Transfer-Encoding: identity\r\n\r\n", 400),
    ("6.1", "empty coding", _coding(b""), 400),
    ("6.1", "lone comma", _coding(b","), 400),
    ("6.1", "comma behind", _coding(b"chunked,"), 400),
    ("6.1", "comma before", _coding(b",chunked"), 400),
    ("6.1", "quoted coding", _coding(b'"chunked"'), 400),
    ("6.1", "coding with parameter", _coding(b"chunked;q=1"), 400),
    ("6.1", "coding with vertical tab", _coding(b"\x0bchunked"), 400),
    ("6.1", "coding with form feed", _coding(b"chunked\x0c"), 400),
    ("6.1", "coding with next line", _coding(b"\x85chunked"), 400),
    ("6.1", "coding with no-break space", _coding(b"\xa0chunked"), 400),
    ("6.1", "coding with NUL", _coding(b"chunked\0"), 400),
    ("6.1", "Kelvin sign for k", _coding("chun\u212aed".encode()), 400),
    ("6.1", "coding under HTTP/1.0", (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"0\r\n\r\n"), 400),
    ("9110 9.3.8", "TRACE with body", b"TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400),
    # -- field lines: RFC 9112 section 5 --
    ("5.1", "space before the colon", _POST + b"Content-Length : 5\r\n\r\nhello", 400),
    ("5.1", "tab before the colon", _POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + _END, 400),
    ("5.1", "space before the colon, plain field", _GET + b"X-A : 1\r\n\r\n", 400),
    ("5.1", "NUL before the colon", _GET + b"X-A\0: 1\r\n\r\n", 400),
    ("5.1", "no colon", _GET + b"X-A\r\n\r\n", 400),
    ("5.1", "empty name", _GET + b": 1\r\n\r\n", 400),
    ("5.1", "name with a space", _GET + b"X A: 1\r\n\r\n", 400),
    ("5.1", "name with a slash", _GET + b"X/A: 1\r\n\r\n", 400),
    ("5.1", "name in brackets", _GET + b"X(A): 1\r\n\r\n", 400),
    ("5.1", "name in quotes", _GET + b'"X-A": 1\r\n\r\n', 400),
    ("5.1", "name with bytes above 127", _GET + b"X-\xc3\x84: 1\r\n\r\n", 400),
    ("5.1", "space before the first field", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    ("5.2", "folded value", _GET + b"X-A: 1\r\n 2\r\n\r\n", 400),
    ("5.2", "folded by a tab", _GET + b"X-A: 1\r\n\t2\r\n\r\n", 400),
    ("5.2", "folded coding", _POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + _END, 400),
    ("5.2", "folded length", _POST + b"Content-Length:\r\n 5\r\n\r\nhello", 400),
    ("5.2", "empty folded line", _GET + b"X-A: 1\r\n \r\n\r\n", 400),
    ("2.2", "bare LF behind the request line", b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    ("2.2", "bare LF behind a field", _GET + b"X-A: 1\nX-B: 2\r\n\r\n", 400),
    ("2.2", "bare LF before the end", _GET + b"X-A: 1\r\n\n", 400),
    ("2.2", "all bare LF", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("2.2", "bare CR in a value", _GET + b"X-A: 1\rX-B: 2\r\n\r\n", 400),
    ("2.2", "bare CR before CRLF", _GET + b"X-A: 1\r\r\n\r\n", 400),
    ("2.2", "CR CR LF behind the request line", b"GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400),
    ("2.2", "bare CR in the request line", b"GET /\r HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("9110 5.5", "NUL in a value", _GET + b"X-A: 1\x002\r\n\r\n", 400),
    ("9110 5.5", "control character in a value", _GET + b"X-A: \x01\r\n\r\n", 400),
    ("9110 5.5", "DEL in a value", _GET + b"X-A: \x7f\r\n\r\n", 400),
    ("9110 5.5", "escape in a value", _GET + b"X-A: \x1b[31m\r\n\r\n", 400),
    # -- chunks: RFC 9112 section 7.1 --
    ("7.1", "no size", _CHUNKED + b"\r\nhello\r\n" + _END, 400),
    ("7.1", "size is a word", _CHUNKED + b"G\r\nhello\r\n" + _END, 400),
    ("7.1", "signed size", _CHUNKED + b"+5\r\nhello\r\n" + _END, 400),
    ("7.1", "negative size", _CHUNKED + b"-5\r\nhello\r\n" + _END, 400),
    ("7.1", "size with 0x", _CHUNKED + b"0x5\r\nhello\r\n" + _END, 400),
    ("7.1", "size with underscore", _CHUNKED + b"0_5\r\nhello\r\n" + _END, 400),
    ("7.1", "space before the size", _CHUNKED + b" 5\r\nhello\r\n" + _END, 400),
    ("7.1", "space behind the size", _CHUNKED + b"5 \r\nhello\r\n" + _END, 400),
    ("7.1", "tab behind the size", _CHUNKED + b"5\t\r\nhello\r\n" + _END, 400),
    ("7.1", "size beyond 64 bits", _CHUNKED + b"10000000000000005\r\nhello\r\n" + _END, 400),
    ("7.1", "size of all ones", _CHUNKED + b"ffffffffffffffff\r\nhello\r\n" + _END, 400),
    ("7.1", "bare LF behind the size", _CHUNKED + b"5\nhello\r\n" + _END, 400),
    ("7.1", "bare CR behind the size", _CHUNKED + b"5\rhello\r\n" + _END, 400),
    ("7.1", "bare LF behind the payload", _CHUNKED + b"5\r\nhello\n" + _END, 400),
    ("7.1", "longer than its size", _CHUNKED + b"4\r\nhello\r\n" + _END, 400),
    ("7.1", "no CRLF behind the payload", _CHUNKED + b"5\r\nhello0\r\n\r\n", 400),
    ("7.1", "two other bytes behind the payload", _CHUNKED + b"5\r\nhelloXX0\r\n\r\n", 400),
    ("7.1.1", "bare LF in an extension", _CHUNKED + b"5;a\nb\r\nhello\r\n" + _END, 400),
    ("7.1.1", "bare CR in an extension", _CHUNKED + b"5;a\rb\r\nhello\r\n" + _END, 400),
    ("7.1.1", "NUL in an extension", _CHUNKED + b"5;a\0b\r\nhello\r\n" + _END, 400),
    ("7.1.1", "LF ends the last chunk's extension", _CHUNKED + b"0;\n" + SMUGGLED, 400),
    ("7.1.1", "endless extension", _CHUNKED + b"5;" + b"a" * 4096 + b"\r\nhello\r\n" + _END, 400),
    ("7.1.2", "trailer without colon", _CHUNKED + b"0\r\nX-A\r\n\r\n", 400),
    ("7.1.2", "folded trailer", _CHUNKED + b"0\r\nX-A: 1\r\n 2\r\n\r\n", 400),
    ("7.1.2", "trailer with bare LF", _CHUNKED + b"0\r\nX-A: 1\n\r\n", 400),
    ("7.1.2", "bare LF for the end", _CHUNKED + b"0\r\n\n", 400),
    ("7.1.2", "trailer with NUL", _CHUNKED + b"0\r\nX-A: \x00\r\n\r\n", 400),
    ("7.1.2", "space before a trailer's colon", _CHUNKED + b"0\r\nX-A : 1\r\n\r\n", 400),
    # -- the request line: RFC 9112 section 3 --
    ("3", "HTTP/0.9", b"GET /\r\n", 400),
    ("3", "two spaces behind the method", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "two spaces behind the target", b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "tab for a space", b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "space before the method", b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "space behind the version", b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    ("3", "something behind the version", b"GET / HTTP/1.1 x\r\nHost: x\r\n\r\n", 400),
    ("3", "space in the target", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "no target", b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.1", "method with a colon", b"GET: / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.1", "method in brackets", b"[GET] / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.1", "method with NUL", b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "HTTP/2.0", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    ("2.3", "HTTP/3.0", b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ("2.3", "HTTP/0.9 spelled out", b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    ("2.3", "preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("2.3", "two digits", b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    ("2.3", "leading zero", b"GET / HTTP/01.1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "no minor version", b"GET / HTTP/1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "lower case", b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "comma", b"GET / HTTP/1,1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "another protocol", b"GET / RTSP/1.0\r\nHost: x\r\n\r\n", 400),
    ("2.3", "a longer name", b"GET / HTTPS/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "relative path", b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "* for GET", b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "fragment", b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "byte above 127", b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "control character", b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "DEL", b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2.2", "other scheme", b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2.2", "no authority", b"GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2.2", "userinfo", b"GET http://a:b@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2.3", "authority for GET", b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("9110 9.3.6", "CONNECT", b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 501),
    ("9110 9.3.6", "CONNECT to a path", b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    ("2.2", "TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    ("2.2", "PROXY header unasked", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + _GET + b"\r\n", 400),
    ("2.2", "many empty lines", b"\r\n" * 20 + _GET + b"\r\n", 400),
    ("2.2", "bare LF before the request", b"\n" + _GET + b"\r\n", 400),
    ("2.2", "bare CR before the request", b"\r" + _GET + b"\r\n", 400),
    # -- Host: RFC 9112 section 3.2 --
    ("3.2", "no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("3.2", "no Host, absolute-form", b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
    ("3.2", "two Hosts", _GET + b"Host: y\r\n\r\n", 400),
    ("3.2", "two equal Hosts", _GET + b"host: x\r\n\r\n", 400),
    ("3.2", "two Hosts under HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    ("3.2", "list of Hosts", b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 400),
    ("3.2", "Host with a space", b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
    ("3.2", "Host with userinfo", b"GET / HTTP/1.1\r\nHost: a@x\r\n\r\n", 400),
    ("3.2", "Host with a path", b"GET / HTTP/1.1\r\nHost: x/a\r\n\r\n", 400),
    ("3.2", "Host with a query", b"GET / HTTP/1.1\r\nHost: x?a\r\n\r\n", 400),
    ("3.2", "Host with a fragment", b"GET / HTTP/1.1\r\nHost: x#a\r\n\r\n", 400),
    ("3.2", "Host with a backslash", b"GET / HTTP/1.1\r\nHost: x\\a\r\n\r\n", 400),
    ("3.2", "Host with a tab", b"GET / HTTP/1.1\r\nHost: x\ty\r\n\r\n", 400),
    ("3.2", "Host with a word for its port", b"GET / HTTP/1.1\r\nHost: x:a\r\n\r\n", 400),
    ("3.2", "Host with two ports", b"GET / HTTP/1.1\r\nHost: x:1:2\r\n\r\n", 400),
    ("3.2", "Host of a port alone", b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    ("3.2", "Host with bytes above 127", b"GET / HTTP/1.1\r\nHost: \xc3\xa4.example\r\n\r\n", 400),
    ("3.2", "Host in open brackets", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("3.2", "absolute-form with a broken Host", b"GET http://y/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    # -- fields that a backend could take for others: RFC 3875 section 4.1.18 --
    ("3875", "shadow of the length", _POST + b"Content_Length: 5\r\n\r\nhello", 400),
    ("3875", "shadow of the coding", _POST + b"Transfer_Encoding: chunked\r\n\r\n" + _END, 400),
    # -- Expect and Max-Forwards --
    ("9110 10.1.1", "unknown expectation", _GET + b"Expect: 200-ok\r\n\r\n", 417),
    ("9110 7.6.2", "Max-Forwards is no number", b"OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: a\r\n\r\n", 400),
    # -- differences that http-garden found between servers --
    ("6.3", "length with a letter behind", _length(b"5Z"), 400),
    ("6.3", "length with next line behind its name", _POST + b"Content-Length\x85: 5\r\n\r\nhello", 400),
    ("6.3", "empty length before another", _POST + b"Content-Length: \r\nContent-Length: 5\r\n\r\nhello", 400),
    ("6.3", "length without a colon", _POST + b"Content-Length 5\r\n\r\nhello", 400),
    ("6.1", "coding between high bytes", _coding(b"\xffchunked\xff"), 400),
    ("6.1", "name of a coding in two lines", _POST + b"Transfer-\r\nEncoding: chunked\r\n\r\n" + _END, 400),
    ("6.1", "name of a coding ends in NUL", _POST + b"Transfer-Encoding\0: chunked\r\n\r\n" + _END, 400),
    ("6.1", "coding behind a vertical tab's name", _POST + b"Transfer-Encoding\x0b: chunked\r\n\r\n" + _END, 400),
    ("7.1", "digits and words", _CHUNKED + b"5these-bytes\r\nhello\r\n" + _END, 400),
    ("7.1", "underscore behind zero", _CHUNKED + b"0_2e\r\n\r\n", 400),
    ("7.1", "negative zero", _CHUNKED + b"-0\r\n\r\n", 400),
    ("7.1", "negative hexadecimal zero", _CHUNKED + b"-0x0\r\n\r\n", 400),
    ("7.1", "empty line before the last chunk", _CHUNKED + b"5\r\nhello\r\n\r\n" + _END, 400),
    ("7.1", "two CRs before an extension", _CHUNKED + b"2\r\r;a\r\n02\r\n" + _END, 400),
    ("7.1", "CR for a space in an extension", _CHUNKED + b"5;a=b\r\rX\r\nhello\r\n" + _END, 400),
    ("7.1", "spaces before zero", _CHUNKED + b"     0\r\n\r\n", 400),
    ("7.1", "vertical tab behind a size", _CHUNKED + b"5\x0b\r\nhello\r\n" + _END, 400),
    ("7.1", "quote in an extension hides CRLF", _CHUNKED + b'5;a="\r\n"\r\nhello\r\n' + _END, 400),
    ("5.1", "colon alone", _GET + b":\r\nX-A: 1\r\n\r\n", 400),
    ("5.1", "name broken by LF", _GET + b"Te\nst: 1\r\n\r\n", 400),
    ("5.1", "continuation by NUL", _GET + b"a:b\r\nc\0\r\n\r\n", 400),
    ("5.1", "name of controls", _GET + b"\x01\x02\x03: 1\r\n\r\n", 400),
    ("5.2", "two LFs before a value", _GET + b"X-A:\n\n1\r\n\r\n", 400),
    ("2.2", "CR and any byte for the end", _GET + b"\rZ", 400),
    ("2.3", "version that overflows", b"GET / HTTP/4294967297.1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "version of CRs", b"GET / HTTP/\r\r1.1\r\nHost: x\r\n\r\n", 400),
    ("2.3", "version of dots", b"GET / HTTP/....1.1\r\nHost: x\r\n\r\n", 400),
    ("3.1", "method with a legal beginning", b'G=":<>(e),[T];?" / HTTP/1.1\r\nHost: x\r\n\r\n', 400),
    ("3", "LF for a space", b"GET /\nHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3", "form feed for a space", b"GET\x0c/\x0cHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "target of one odd byte", b"GET ! HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "backslashes for slashes", b"GET \\a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("3.2", "Host with NUL", b"GET / HTTP/1.1\r\nHost: x\0.evil\r\n\r\n", 400),
    ("3.2", "Host between high bytes", b"GET / HTTP/1.1\r\nHost: \xffx\xff\r\n\r\n", 400),
    ("3.2", "empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"HEAD / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\nA : 1\r\n\r\n",
        b"\r\nHEAD / HTTP/3.0\r\nHost: x\r\n\r\n",
        b"HEAD /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_refusal_of_a_head_has_no_body(wire: Wire, data: bytes) -> None:
    """Whatever else was wrong, the client reads no body behind it (RFC 9110 section 9.3.2)."""
    answer = await wire.send_open(data)
    assert re.match(rb"HTTP/1\.1 (400|505) ", answer)
    assert b"\r\nContent-Length: " in answer
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [pytest.param(data, status, id=f"{section} {name}") for section, name, data, status in REFUSED],
)
async def test_refused_and_closed_with_nothing_behind_read(
    wire: Wire, data: bytes, status: int
) -> None:
    """One answer, the connection's end, and no backend that saw the request or what was hidden."""
    answer = await wire.send_open(data + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", answer)) == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert not [r for r in wire.requests if b"smuggled" in r]
    assert not [r for r in wire.requests if b"\r\n0\r\n\r\n" in r], "never a body's clean end"
