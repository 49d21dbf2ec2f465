"""Other file formats of a finished avatar: one module a format, all listed in `registry`."""
