"""How the site is put together; see `make docs`."""
