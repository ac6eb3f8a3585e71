"""The compiled products of sparse layers, and the plain ones that they are held to."""
