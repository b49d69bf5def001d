"""HTTP on the server's port: what is mapped to paths, besides listener factories."""
