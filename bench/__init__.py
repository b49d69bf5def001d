"""The benchmark: how fast the wheels are, next to other libraries and plain C. See README.md."""
