//! What an ELF file says of itself, read before any of its code runs.
