"""What the gateway costs: requests a second, added latency, memory, and where the time goes."""
