"""One adapter per library: the same roles and command line for all of them."""
