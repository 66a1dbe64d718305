"""Networks: a registry, one file per architecture, and the layers they share."""
