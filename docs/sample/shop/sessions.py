"""Sessions of signed-in customers."""

import secrets
import time

LIFETIME_S = 30 * 60


class SessionStore:
    """Sessions by token, in memory."""

    def __init__(self):
        self._sessions = {}

    def sign_in(self, customer):
        """Create a session and return its token."""
        token = secrets.token_urlsafe(32)
        self._sessions[token] = (customer, time.monotonic() + LIFETIME_S)
        return token

    def find_customer(self, token):
        """Return the customer of a token, or None if the session has expired."""
        customer, expires_at = self._sessions.get(token, (None, 0.0))
        return customer if time.monotonic() < expires_at else None
