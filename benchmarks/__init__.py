"""Measurements of the real program, each one command.

`compare` sets what a request costs beside other proxies; `switch_storm` proves that switches under
load lose nothing. They start everything they need on loopback and end it again. Numbers are
comparable inside one run only.
"""
