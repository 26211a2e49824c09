"""bgproxy: a blue-green reverse proxy.

Two environments, blue and green, stand behind one address. The active one gets the traffic; a
*switch* moves all of it to the other in one store, what began on the old one ends there, and the
way back stays open.
`docs/architecture.md` explains how the pieces fit.
"""

from __future__ import annotations

from bgproxy import compiled

__version__ = "0.1.0"

if not compiled.IS_USED:
    compiled.leave_out()
