"""Speed, memory and accuracy that the project promises; not part of the tests, which never time anything."""
