"""Interactive pages without a network: tables that a reader chooses from, sorts, filters and sees drawn."""
