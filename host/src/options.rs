//! From a configuration to how the server in front of all applications treats its clients.

use cohost::{
    config::{Config, Server},
    forwarded::Trust,
    http::ErrorPage,
    server::{Limits, Options, Pace},
};

/// What `config` says of the server.
pub(crate) fn of(config: &Config) -> Options {
    let server = &config.server;
    let defaults = Options::default();
    Options {
        error_page: ErrorPage {
            shown: server.error_page,
            detailed: server.detailed_errors,
            link: server.error_link.clone(),
            ..ErrorPage::default()
        },
        access: config.log.access,
        trusted: Trust::these(server.trusted_proxies.iter().copied()).saying(server.trusted_fields),
        limits: limits(server),
        handshake_timeout: server.handshake_timeout,
        shutdown_timeout: server.shutdown_timeout,
        max_connections: server.max_connections.unwrap_or(defaults.max_connections),
        max_connections_per_client: server.max_connections_per_client,
    }
}

fn limits(server: &Server) -> Limits {
    Limits {
        header_timeout: Some(server.header_timeout),
        keep_alive_timeout: Some(server.keep_alive_timeout),
        send_timeout: server.send_timeout,
        body: server.body_timeout.map(|patience| Pace { patience, rate: server.min_body_rate }),
        max_head: server.max_header_size,
        max_fields: Some(server.max_header_fields),
        max_streams: server.max_streams,
        ..Limits::default()
    }
}
