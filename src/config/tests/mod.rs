//! What a file means, which faults it can have, and what holds for any file whatever.

#[cfg(feature = "acme")]
mod acme;
mod combinations;
mod faults;
mod generated;
mod guard;
mod meaning;
mod rewrite;
mod server;
mod tls;
mod upstreams;

use std::path::Path;

use super::{Config, Faults};

/// Reads `text` as `/etc/shop/cohost.toml`, where `LIBRARIES` is the only variable.
fn parse(text: &str) -> Result<Config, Faults> {
    let env = |name: &str| (name == "LIBRARIES").then(|| "/srv/lib".to_owned());
    super::parse(text, Path::new("/etc/shop/cohost.toml"), &env)
}
