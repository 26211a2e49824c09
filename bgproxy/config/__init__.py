"""A YAML file to checked, frozen values; every fault of the file is named at once.

The way of a value: bytes are read and decoded (`load`), YAML events become *nodes* that know where
they stand (`yaml_nodes`), ``${NAME}`` in a scalar is replaced (`variables`), the *sections* of the
schema (`schema`, `service_schema`) say which keys there are, and their *readers* (`readers`) turn
the text of each scalar into a value. What does not fit becomes a *fault* with file, line, column,
key path and remedy (`faults`). Sections build the domain's own values; what only shows when
several are looked at together is found by `checks`.
"""
