"""A gateway that publishes a synthetic market on topics, and a page that shows it live."""
