"""Which deployments may serve a call, and in which order."""
