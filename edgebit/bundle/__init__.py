"""A bundle: the folder that runs by itself on a device."""
