//! Configuration: what is written in `cohost.toml`, and what it means.
