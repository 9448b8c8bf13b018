"""Bradley–Terry: one reward for all users."""

from plurality.models.bradley_terry.spec import BradleyTerry

__all__ = ["BradleyTerry"]
