"""Topics over several processes: the engines, and other gateways that use them."""
