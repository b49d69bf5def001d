"""The benchmark: how fast the wheels are, next to other libraries and to plain C. See README.md."""
