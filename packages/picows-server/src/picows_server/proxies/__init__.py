"""What a proxy in front of the server says of its clients, and whether it is believed."""
