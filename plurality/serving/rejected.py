"""A request that is answered by a status and a reason."""


class Rejected(Exception):
    """A request that is answered by a status and a reason instead of what it asks for.

    status    HTTP status
    reason    why, for the client
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
