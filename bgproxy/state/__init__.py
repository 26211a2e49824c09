"""What processes share and what outlives them.

The *ledger* is one block of shared memory: the active pointers and every worker's counters. The
*routing table* is what the supervisor tells the workers besides. The *journal* is the database
that survives restarts. Here, and only here, the control plane and the data plane meet.
"""
