"""Decisions: values in, values out. No I/O, no clock, no randomness of its own.

Words: a *service* is one application; a *color* is blue or green; an *environment* is a color with
its backends; the *active* environment gets the service's traffic, the other is *idle*; a
*generation* grows by one with every change of the active pointer; an *exchange* is one request and
its response; an *outcome* is how it ended.
"""
