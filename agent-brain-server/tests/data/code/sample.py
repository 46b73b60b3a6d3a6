"""A client with a limit on retries."""

import functools

MAX_RETRIES = 3


class Client:
    """Talks to one host."""

    class Closed(Exception):
        """The client was closed."""

    def __init__(self, host):
        self.host = host

    # sent again after a timeout
    @functools.cache
    def send(self, request):
        def attempt():
            return request

        return attempt()


async def connect(host):
    return Client(host)
