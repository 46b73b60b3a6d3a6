"""A client with a limit on retries."""

import functools

MAX_RETRIES = 3


class Client:
    """Talks to one host."""

    class Options(dict):
        """What a client is told."""

    def __init__(self, host):
        self.host = host

    # sent again after a timeout
    @functools.wraps(print)
    def send(self, request):
        def attempt():
            return request

        return attempt()


async def connect(host):
    return Client(host)
