//! Every key there is, by table. What stands here is read, and is described in `docs/configuration.md`.

/// The keys of one table.
#[derive(Debug)]
pub(super) struct Keys {
    /// The table's header, as it is written; empty for the top of the file.
    pub(super) header: &'static str,
    pub(super) names: &'static [&'static str],
}

/// All tables with keys of ours. `settings` and `environment` belong to the application.
pub(super) const ALL: &[&Keys] = &[
    &TOP,
    &LOG,
    &SERVER,
    &ACME,
    &EXTERNAL_ACCOUNT,
    &SITE,
    &APPLICATION,
    &RECYCLE,
    &HEADERS,
    &HTTPS,
    &REWRITE,
    &CONDITION,
    &OUTBOUND,
    &IP,
    &LIMIT,
    &CORS,
    &FILTER,
    &AUTH,
    &BASIC,
    &FORWARD,
    &COMPRESSION,
    &STATIC,
    &BALANCE,
    &BALANCE_HEALTH,
    &TLS,
    &CERTIFICATE,
    &BALANCE_TLS,
    &FORWARD_TLS,
];

pub(super) const TOP: Keys = Keys { header: "", names: &["log", "server", "acme", "site"] };

pub(super) const LOG: Keys = Keys {
    header: "[log]",
    names: &[
        "level",
        "format",
        "access",
        "output",
        "output_folder",
        "output_size",
        "output_age",
        "output_files",
    ],
};

pub(super) const SERVER: Keys = Keys {
    header: "[server]",
    names: &[
        "threads",
        "max_connections",
        "max_connections_per_client",
        "header_timeout",
        "handshake_timeout",
        "keep_alive_timeout",
        "send_timeout",
        "body_timeout",
        "min_body_rate",
        "max_header_size",
        "max_header_fields",
        "max_streams",
        "shutdown_timeout",
        "standby",
        "watch",
        "recycle_memory",
        "unknown_authority",
        "trusted_proxies",
        "trusted_fields",
        "error_page",
        "detailed_errors",
        "error_link",
    ],
};

pub(super) const ACME: Keys = Keys {
    header: "[acme]",
    names: &["terms_agreed", "directory", "contact", "state", "ca", "external_account"],
};

pub(super) const EXTERNAL_ACCOUNT: Keys = Keys { header: "external_account", names: &["id", "key"] };

pub(super) const LIMITS: Keys = Keys {
    header: "limits",
    names: &["cpu_time", "open_files", "processes", "core", "memory", "memory_max", "cpu_max", "pids_max"],
};

pub(super) const SITE: Keys = Keys {
    header: "[[site]]",
    names: &[
        "name",
        "bindings",
        "proxy_protocol",
        "tls",
        "application",
        "canonical_host",
        "headers",
        "https",
        "ip",
        "limit",
        "cors",
        "filter",
        "auth",
        "compression",
        "maps",
        "outbound",
        "rewrite",
        "static",
    ],
};

pub(super) const APPLICATION: Keys = Keys {
    header: "[[site.application]]",
    names: &[
        "path",
        "name",
        "library",
        "command",
        "static",
        "upstreams",
        "balance",
        "hosting_model",
        "demote_after",
        "content_root",
        "preload",
        "warmup",
        "warmup_authority",
        "trial",
        "recycle",
        "startup_timeout",
        "shutdown_timeout",
        "request_timeout",
        "connect_timeout",
        "first_byte_timeout",
        "idle_timeout",
        "max_request_body",
        "max_concurrent_requests",
        "request_queue",
        "queue_limit",
        "rapid_fails_per_minute",
        "runtime_threads",
        "blocking_threads",
        "hang_timeout",
        "listen",
        "port",
        "protocol",
        "ready",
        "health",
        "idle_stop",
        "environment",
        "inherit_environment",
        "user",
        "group",
        "umask",
        "no_new_privs",
        "limits",
        "output",
        "output_folder",
        "output_size",
        "output_age",
        "output_files",
        "settings",
        "headers",
        "https",
        "maps",
        "outbound",
        "rewrite",
        "ip",
        "limit",
        "cors",
        "filter",
        "auth",
        "compression",
    ],
};

/// Those of an application that mean something only where code of its own runs.
pub(super) fn of_code() -> impl Iterator<Item = &'static str> {
    // From what stands behind its artifact to its settings; behind those stand tables of the front.
    let mut is_over = false;
    let names = APPLICATION.names.iter().copied().skip_while(|name| *name != "hosting_model");
    names.take_while(move |name| !std::mem::replace(&mut is_over, *name == "settings"))
}

/// Those that mean something for servers that somebody else runs, too.
pub(super) const OF_UPSTREAMS: [&str; 9] = [
    "content_root",
    "request_timeout",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "max_request_body",
    "max_concurrent_requests",
    "request_queue",
    "protocol",
];

pub(super) const RECYCLE: Keys =
    Keys { header: "recycle", names: &["age", "schedule", "requests", "memory", "interval"] };

pub(super) const IP: Keys = Keys { header: "ip", names: &["allow", "deny", "log_only"] };

pub(super) const HEADERS: Keys = Keys { header: "headers", names: &["remove", "set", "append", "security"] };

pub(super) const HTTPS: Keys =
    Keys { header: "https", names: &["redirect", "status", "port", "hsts", "include_subdomains", "preload"] };

pub(super) const LIMIT: Keys =
    Keys { header: "limit", names: &["key", "rate", "burst", "concurrent", "log_only"] };

pub(super) const CORS: Keys =
    Keys { header: "cors", names: &["origins", "methods", "headers", "expose", "credentials", "max_age"] };

pub(super) const FILTER: Keys = Keys {
    header: "filter",
    names: &[
        "preset",
        "allowed_verbs",
        "denied_verbs",
        "allowed_extensions",
        "denied_extensions",
        "hidden_segments",
        "denied_sequences",
        "denied_query_sequences",
        "double_escaping",
        "max_url",
        "max_query",
        "max_field",
        "log_only",
    ],
};

pub(super) const COMPRESSION: Keys =
    Keys { header: "compression", names: &["algorithms", "types", "min_size", "level", "decompress"] };

pub(super) const AUTH: Keys = Keys { header: "auth", names: &["basic", "forward"] };

pub(super) const BASIC: Keys = Keys { header: "auth.basic", names: &["users", "realm"] };

pub(super) const FORWARD: Keys = Keys { header: "auth.forward", names: &["url", "tls", "copy", "timeout"] };

pub(super) const STATIC: Keys = Keys {
    header: "static",
    names: &[
        "root",
        "order",
        "default_documents",
        "fallback",
        "precompressed",
        "types",
        "cache_control",
        "hidden",
        "memory",
        "browse",
    ],
};

pub(super) const TLS: Keys = Keys {
    header: "tls",
    names: &[
        "certificate",
        "key",
        "ocsp",
        "certificates",
        "min_version",
        "client_certificates",
        "client_ca",
        "client_crl",
    ],
};

pub(super) const CERTIFICATE: Keys = Keys { header: "certificates", names: &["certificate", "key", "ocsp"] };

pub(super) const REWRITE: Keys = Keys {
    header: "rewrite",
    names: &[
        "name",
        "match",
        "conditions",
        "any",
        "rewrite",
        "redirect",
        "status",
        "respond",
        "body",
        "content_type",
        "abort",
        "query",
        "stop",
        "again",
    ],
};

pub(super) const CONDITION: Keys =
    Keys { header: "conditions", names: &["input", "matches", "differs", "is", "is_not", "root"] };

pub(super) const OUTBOUND: Keys = Keys {
    header: "outbound",
    names: &["name", "status", "field", "match", "conditions", "any", "value", "add"],
};

pub(super) const UPSTREAM: Keys = Keys { header: "upstreams", names: &["url", "weight"] };

pub(super) const BALANCE: Keys = Keys {
    header: "balance",
    names: &[
        "policy",
        "hash",
        "sticky",
        "health",
        "tls",
        "max_fails",
        "fail_window",
        "fail_statuses",
        "out_time",
        "longest_out_time",
        "slow_start",
        "retry",
        "retry_budget",
    ],
};

pub(super) const BALANCE_TLS: Keys = Keys { header: "balance.tls", names: OUTWARD };

pub(super) const FORWARD_TLS: Keys = Keys { header: "auth.forward.tls", names: OUTWARD };

/// What there is to say of TLS towards others, whoever they are.
const OUTWARD: &[&str] = &["ca", "server_name", "certificate", "key"];

pub(super) const BALANCE_HEALTH: Keys = Keys {
    header: "balance.health",
    names: &["path", "interval", "timeout", "healthy", "unhealthy", "status"],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_in_the_documentation() {
        let page = include_str!("../../docs/configuration.md");
        for table in ALL {
            let described = page
                .split("\n## ")
                .find(|part| part.lines().next().is_some_and(|title| title == format!("`{}`", table.header)));
            for name in table.names.iter().filter(|_| !table.header.is_empty()) {
                let row = format!("| `{name}` |");
                assert!(
                    described.is_some_and(|part| part.contains(&row)) || *name == "application",
                    "{name} of {} is missing from docs/configuration.md",
                    table.header
                );
            }
        }
    }
}
