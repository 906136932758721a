"""The edge: the only place that knows gRPC, HTTP and foreign dialects."""
