"""Bradley–Terry: one reward for everybody."""

from plurality.models.bradley_terry.spec import BradleyTerry

__all__ = ["BradleyTerry"]
