"""The derived level of a graph: every tensor operation of a forward pass, and what its axes consist of."""
