"""The command line's commands: arguments -> client or supervisor -> text -> exit status.

Results go to standard output, progress and errors to standard error. Exit status: 0 done,
1 refused or failed, 2 wrong usage or configuration, 3 the admin API cannot be reached.
"""
