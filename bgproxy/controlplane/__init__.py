"""Everything that may be slow: decisions carried out, health, the admin API.

The *coordinator* takes requests to change something and is the only one to move a pointer. The
*registry* knows every service, environment and backend as they are now; the *publisher* tells the
workers. A *rollout* is one deployment being carried out: commit, store, drain, bake. Nothing here
carries user traffic, and everything here runs in one event loop, so between two awaits nothing
changes.
"""
