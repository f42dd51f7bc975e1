//! What a file without faults means.

use std::{path::PathBuf, time::Duration};

use super::parse;
use crate::{
    HostingModel,
    config::{
        Application, Artifact, Certificate, ClientCertificates, Config, Listen, LogFormat, Tls,
        UnknownAuthority, Vouching,
    },
    forwarded::{Fields, Proxy},
    front::Files,
    options::{
        Confinement, Destination, Limits, Options, Output, ProcessListen, ProcessOptions, Protocol, Ready,
        Recycle, TlsVersion,
    },
};

/// The smallest configuration, with `more` in its only application.
fn application(more: &str) -> Application {
    let text =
        format!("site = [{{ name = 'shop', bindings = ['http://*:80'], application = [{{ {more} }}] }}]");
    parse(&text).unwrap().sites.remove(0).applications.remove(0)
}

#[test]
fn what_is_not_written_has_its_default() {
    let expected = Application {
        content_root: PathBuf::from("/etc/shop"),
        ..Application::new("shop", Artifact::Library(PathBuf::from("/etc/shop/libshop.so")))
    };
    assert_eq!(application("library = 'libshop.so'"), expected);
    assert_eq!(expected.options, Options::default());
    assert_eq!(expected.process, ProcessOptions::default());
    assert_eq!(expected.settings, serde_json::json!({}));

    let files = application("static = 'public'");
    let mut expected = Files::new("/etc/shop/public");
    // What is nobody's to have does not depend on where they are.
    expected.private = ["cohost.toml", "logs"].map(|name| PathBuf::from("/etc/shop").join(name)).to_vec();
    assert_eq!(files, Application::new("shop", Artifact::Files(expected)));
    assert_eq!(files.content_root, PathBuf::from("/etc/shop/public"));
    assert_eq!(application("static = { root = 'public' }"), files);

    let config =
        parse("site = [{ name = 'a', bindings = ['http://*'], application = [{ library = 'x' }] }]").unwrap();
    let mut default = Config { sites: config.sites.clone(), ..Config::default() };
    default.log.output.folder = PathBuf::from("/etc/shop/logs");
    assert_eq!(config, default);
}

#[test]
fn everything_that_is_written_is_used() {
    let config = parse(include_str!("everything.toml")).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("info,app::db=debug", LogFormat::Json));
    assert!(!config.log.access);
    let output = Output {
        to: Destination::Files,
        folder: PathBuf::from("/var/log/cohost"),
        size: Some(1 << 20),
        age: Some(Duration::from_secs(24 * 60 * 60)),
        files: 3.try_into().unwrap(),
    };
    assert_eq!(config.output("api"), &output);
    assert_eq!(config.output("api/v2").to, Destination::Host);
    let own = Output { folder: PathBuf::from("/etc/shop/logs"), size: None, age: None, ..output };
    assert_eq!(config.output("basket"), &own);
    let server = &config.server;
    assert_eq!(server.threads.map(std::num::NonZeroUsize::get), Some(2));
    assert_eq!((server.max_connections, server.max_connections_per_client), (Some(1000), Some(20)));
    assert_eq!(server.header_timeout, Duration::from_secs(20));
    assert_eq!(server.handshake_timeout, Duration::from_secs(5));
    assert_eq!(server.keep_alive_timeout, Duration::from_secs(90));
    assert_eq!((server.send_timeout, server.body_timeout), (None, Some(Duration::from_secs(20))));
    assert_eq!(server.min_body_rate.map(std::num::NonZeroU32::get), Some(1000));
    let sizes = (server.max_header_size, server.max_header_fields, server.max_streams);
    assert_eq!(sizes, (16 * 1024, 50, 10));
    assert_eq!(server.shutdown_timeout, Duration::from_millis(1500));
    assert_eq!(server.unknown_authority, UnknownAuthority::Misdirected);
    let networks = ["10.0.0.0/8", "::1/128"].map(|network| Proxy::Network(network.parse().unwrap()));
    assert_eq!(server.trusted_proxies, [&networks[..], &[Proxy::Socket]].concat());
    assert_eq!(server.trusted_fields, Fields::Forwarded);
    assert!(!server.standby && !server.watch);
    assert_eq!(server.recycle_memory, Some(2 << 30));
    assert!(!server.error_page && server.detailed_errors);
    assert_eq!(server.error_link.as_deref(), Some("https://help.example/shop?a=1&b=2"));

    let [shop, api] = &config.sites[..] else { panic!("two sites") };
    assert_eq!(
        shop.bindings.iter().map(|binding| &*binding.text).collect::<Vec<_>>(),
        ["http://shop.example", "http://*.shop.example", "unix:shop.sock", "https://shop.example"]
    );
    let certificate = |certificate: &str, key: &str, ocsp: Option<&str>| Certificate {
        certificate: certificate.into(),
        key: key.into(),
        ocsp: ocsp.map(Into::into),
        ordered_for: None,
    };
    let certificates = vec![
        certificate("/etc/shop/shop.pem", "/keys/shop.pem", Some("/etc/shop/shop.ocsp")),
        certificate("/etc/shop/other.pem", "/etc/shop/other.key", None),
    ];
    let vouching = Vouching {
        authorities: "/etc/shop/clients.pem".into(),
        revoked: Some("/etc/shop/revoked.pem".into()),
    };
    let client_certificates = ClientCertificates::Optional(vouching);
    assert_eq!(shop.tls, Some(Tls { certificates, min_version: TlsVersion::Tls13, client_certificates }));
    assert_eq!(shop.bindings[2].listen, Listen::Unix("/etc/shop/shop.sock".into()));

    let cart = &shop.applications[0];
    assert_eq!((&*cart.name, cart.path.as_str()), ("basket", "/cart"));
    assert_eq!(cart.artifact, Artifact::Library("/srv/lib/libcart.so".into()));
    assert_eq!(cart.hosting_model, HostingModel::OutOfProcess);
    assert_eq!(cart.content_root, PathBuf::from("/etc/shop/cart"));
    assert_eq!(
        cart.options,
        Options {
            preload: true,
            warmup: vec!["/health".to_owned(), "/prices?all".to_owned()],
            warmup_authority: Some("shop.example:8080".to_owned()),
            startup_timeout: Duration::from_secs(90),
            shutdown_timeout: Duration::from_secs(5),
            request_timeout: Some(Duration::from_secs(60)),
            connect_timeout: Duration::from_secs(1),
            first_byte_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(120)),
            max_request_body: None,
            max_concurrent_requests: Some(64),
            request_queue: 20,
            queue_limit: 10,
            rapid_fails_per_minute: 3,
            runtime_threads: 4,
            blocking_threads: 8,
            hang_timeout: Some(Duration::from_secs(45)),
        }
    );
    assert!(!cart.trial);
    let recycle = Recycle {
        age: Some(Duration::from_secs(29 * 60 * 60)),
        schedule: ["03:00", "15:30"].map(|time| time.parse().unwrap()).to_vec(),
        requests: Some(100_000),
        memory: Some(500_000_000),
        interval: Duration::from_secs(60),
    };
    assert_eq!(cart.recycle, recycle);
    assert_eq!(cart.process.idle_stop, Some(Duration::from_secs(20 * 60)));
    assert_eq!(cart.process.ready, Ready::Health("/health".to_owned()));
    let limits = Limits {
        cpu_time: Some(Duration::from_secs(3600)),
        open_files: Some(1024),
        processes: Some(100),
        core: Some(0),
        memory: Some(1 << 30),
        memory_max: Some(1 << 29),
        cpu_max: Some(1500),
        pids_max: Some(50),
    };
    let (user, group) = (Some("www-data".to_owned()), Some("33".to_owned()));
    let confinement = Confinement { user, group, umask: Some(0o027), no_new_privs: false, limits };
    assert_eq!(cart.process.confinement, confinement);
    assert!(!cart.process.inherit_environment);
    assert_eq!(cart.process.environment["PRICE"], "$5 or /srv/lib");
    let settings = serde_json::json!({
        "greeting": "hello from /srv/lib", "limits": { "items": 255, "ratio": 0.5 },
        "since": "2026-01-01", "on": true, "list": [1, "two"],
    });
    assert_eq!(cart.settings, settings);

    let node = &api.applications[0];
    let command = ["/etc/shop/bin/serve", "--title", "two words", "ümlaut"];
    assert_eq!(node.artifact, Artifact::Command(command.map(str::to_owned).to_vec()));
    assert_eq!((&*node.name, node.hosting_model), ("api", HostingModel::OutOfProcess));
    assert_eq!(node.process.listen, ProcessListen::Port(9000.try_into().unwrap()));
    assert_eq!((node.process.protocol, &node.process.ready), (Protocol::H2c, &Ready::Notify));
    assert_eq!(&*api.applications[1].name, "api/v2");
    assert_eq!(api.applications[1].process.listen, ProcessListen::Socket);
}

#[test]
fn the_examples_of_the_documentation_are_configurations() {
    let smallest =
        "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\nlibrary = 'x'\n";
    let page = include_str!("../../../docs/configuration.md");
    let examples: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        // Some show a table that stands in a site or an application, and not these.
        let whole =
            if example.contains("[[site]]") { example.to_owned() } else { format!("{smallest}{example}") };
        if let Err(faults) = parse(&whole) {
            panic!("{example}\n{faults}");
        }
    }
}

#[test]
fn paths_are_mounted_without_the_slash_at_the_end() {
    for (written, mounted) in [("/", ""), ("/shop", "/shop"), ("/shop/", "/shop"), ("/a/b.c/~d", "/a/b.c/~d")]
    {
        assert_eq!(application(&format!("library = 'x', path = '{written}'")).path, mounted);
    }
}

#[test]
fn a_hosting_model_is_read_in_upper_and_lower_case() {
    let model = |written| application(&format!("library = 'x', hosting_model = '{written}'")).hosting_model;
    assert_eq!(model("InProcess"), HostingModel::InProcess);
    assert_eq!(model("OutOfProcess"), HostingModel::OutOfProcess);
}

#[test]
fn a_size_is_decimal_or_binary_as_its_unit_says() {
    for (written, bytes) in [
        ("'30MB'", 30_000_000),
        ("'30MiB'", 31_457_280),
        ("'1.5 kB'", 1500),
        ("'7B'", 7),
        ("'7'", 7),
        ("4096", 4096),
        ("0x10", 16),
    ] {
        let options = application(&format!("library = 'x', max_request_body = {written}")).options;
        assert_eq!(options.max_request_body, Some(bytes), "{written}");
    }
}

#[test]
fn a_number_in_quotes_may_come_from_a_variable() {
    let options =
        application("library = 'x', queue_limit = '${LIMIT:-50}', preload = '${PRELOAD:-true}'").options;
    assert_eq!((options.queue_limit, options.preload), (50, true));
}

#[test]
fn a_program_without_arguments_needs_no_list() {
    let artifact = application("command = 'serve'").artifact;
    assert_eq!(artifact, Artifact::Command(vec!["serve".to_owned()]));
}
