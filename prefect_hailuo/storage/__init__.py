"""Where files are kept: places, names, records, downloads, and the pictures brought in."""
