"""The command line: ``picows URL`` sends lines and prints messages.

Nothing else imports these rooms.
"""

from __future__ import annotations
