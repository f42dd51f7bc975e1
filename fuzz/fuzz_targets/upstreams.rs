//! Places of upstreams. In: any text in place of one. Never: a panic, a place that is another one when it is written down
//! and read again, or a name that no resolver should be asked for.
#![no_main]

use std::path::Path;

use cohost::{
    config::{Artifact, parse},
    front::{Endpoint, Place},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The end of a literal, and what no literal may have.
    if text.contains('\'') || text.contains(|letter: char| letter.is_control()) {
        return;
    }
    for text in [text.to_owned(), format!("http://{text}"), format!("http://[{text}")] {
        let Some(place) = read(&text) else { continue };
        let (scheme, inside) = text.split_once("://").unwrap_or(("unix", &text));
        let is_http = ["http", "https"].contains(&scheme);
        match &place {
            Place::At(Endpoint::Tcp(address)) => {
                assert!(address.port() > 0 && is_http);
                assert_eq!(read(&format!("{scheme}://{address}")).as_ref(), Some(&place), "{text}");
                // As it is written, but for brackets, a port and a slash.
                let inside = inside.trim_end_matches('/');
                let inside = inside.strip_suffix(&format!(":{}", address.port())).unwrap_or(inside);
                let inside =
                    inside.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(inside);
                assert_eq!(inside.parse(), Ok(address.ip()), "{text}");
            }
            Place::Named { host, port } => {
                assert!(*port > 0 && !host.is_empty() && host.parse::<std::net::IpAddr>().is_err(), "{text}");
                assert!(
                    host.bytes().all(|byte| b"-._".contains(&byte) || byte.is_ascii_alphanumeric()),
                    "{text}"
                );
                assert!(is_http, "{text}");
                assert_eq!(read(&format!("{scheme}://{host}:{port}")).as_ref(), Some(&place), "{text}");
            }
            Place::At(Endpoint::Unix(path)) => assert!(path.is_absolute(), "{text}"),
        }
    }
});

fn read(text: &str) -> Option<Place> {
    let text = format!(
        "[[site]]\nname = 'a'\nbindings = ['http://*']\n[[site.application]]\nupstreams = ['{text}']\n"
    );
    let config = parse(&text, Path::new("/etc/cohost.toml"), &|_| None).ok()?;
    match &config.sites[0].applications[0].artifact {
        Artifact::Upstreams(upstreams) => Some(upstreams.members[0].place.clone()),
        _ => None,
    }
}
