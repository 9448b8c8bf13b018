"""Data sets and simulators that end in the frames `plurality.read` takes."""
