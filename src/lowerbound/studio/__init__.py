"""The studio: a local page to train, watch and explore the runs of a folder."""
