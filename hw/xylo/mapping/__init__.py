"""From a graph of modules to the layout of a chip, with every violation and resource."""
