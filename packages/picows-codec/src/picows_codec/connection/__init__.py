"""The private rooms that make up one connection: the state, the two halves, the end of it."""
