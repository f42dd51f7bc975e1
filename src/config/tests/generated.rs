//! What holds for any text, and for any configuration.

use std::{collections::BTreeMap, fmt::Write as _, num::NonZeroU16, time::Duration};

use proptest::{collection::vec, option, prelude::*};

use super::parse;
use crate::{
    ConfiguredModel,
    config::{Application, Artifact, Config, Log, LogFormat, Server, Site, UnknownAuthority},
    facts::Scheme,
    forwarded::Proxy,
    front::{Endpoint, Files, Front, Place, Upstream, Upstreams},
    options::{Options, Output},
};

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_faults_with_places(text in any_text()) {
        if let Err(faults) = parse(&text) {
            prop_assert!(faults.iter().count() > 0);
            for fault in &faults {
                prop_assert!(fault.line >= 1 && fault.column >= 1, "{fault}");
                prop_assert!(fault.line <= text.matches('\n').count() + 1, "{fault}");
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(config in any_config()) {
        let text = written(&config);
        match parse(&text) {
            Ok(read) => prop_assert_eq!(as_written(read), config),
            Err(faults) => prop_assert!(false, "{}\n{}", text, faults),
        }
    }
}

/// Without what files are told of the rest, which stands nowhere.
fn as_written(mut config: Config) -> Config {
    for application in config.sites.iter_mut().flat_map(|site| &mut site.applications) {
        if let Artifact::Files(files) = &mut application.artifact {
            assert!(!files.private.is_empty());
            files.private.clear();
        }
    }
    config
}

/// Letters at random, and pieces of configurations in any order.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[[site]]\n".to_owned()),
        Just("[[site.application]]\n".to_owned()),
        Just("[site.application.settings]\n".to_owned()),
        Just("[server]\n".to_owned()),
        Just("[log]\n".to_owned()),
        ("[a-z_]{1,10}", ".{0,20}").prop_map(|(key, value)| format!("{key} = {value}\n")),
        (any_key(), any_value()).prop_map(|(key, value)| format!("{key} = {value}\n")),
    ];
    prop_oneof![any::<String>(), vec(piece, 0..12).prop_map(|pieces| pieces.concat())]
}

fn any_key() -> impl Strategy<Value = &'static str> {
    let names: Vec<_> = crate::config::keys::ALL.iter().flat_map(|keys| keys.names).copied().collect();
    proptest::sample::select(names)
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,30}".prop_map(|text| serde_json::Value::from(text).to_string()),
        "(http|https|unix)://?[a-z0-9.*\\[\\]:]{0,12}".prop_map(|text| format!("[\"{text}\"]")),
        "[0-9]{1,22} ?[a-zA-Z]{0,3}".prop_map(|text| format!("\"{text}\"")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        Just("${X".to_owned()),
        Just("{ a.b = [1, {}] }".to_owned()),
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    (any_log(), any_server(), vec(vec(any_application(), 1..4), 1..4)).prop_map(|(log, server, sites)| {
        let sites = sites.into_iter().enumerate().map(|(number, applications)| site(number, applications));
        Config { log, server, acme: None, sites: sites.collect() }
    })
}

fn any_log() -> impl Strategy<Value = Log> {
    let format = prop_oneof![Just(LogFormat::Auto), Just(LogFormat::Human), Just(LogFormat::Json)];
    ("(info|off),[a-z]{1,5}::[a-z]{1,5}=trace", format, any::<bool>()).prop_map(|(level, format, access)| {
        let output = Output { folder: "/etc/shop/logs".into(), ..Output::default() };
        Log { level, format, access, output, ..Log::default() }
    })
}

fn any_server() -> impl Strategy<Value = Server> {
    let unknown = prop_oneof![
        Just(UnknownAuthority::DefaultSite),
        Just(UnknownAuthority::Misdirected),
        Just(UnknownAuthority::NotFound)
    ];
    (option::of(1..100_usize), option::of(1..100_usize), any_duration(), unknown, any::<[u8; 4]>(), 0..=32_u8)
        .prop_map(|(threads, max_connections, header_timeout, unknown_authority, address, prefix)| Server {
            threads: threads.and_then(std::num::NonZeroUsize::new),
            max_connections,
            header_timeout,
            unknown_authority,
            trusted_proxies: vec![Proxy::Network(ipnet::IpNet::new(address.into(), prefix).unwrap().trunc())],
            ..Server::default()
        })
}

/// A site that shares nothing with those of other numbers.
fn site(number: usize, mut applications: Vec<Application>) -> Site {
    let name = format!("site-{number}");
    for (index, application) in applications.iter_mut().enumerate() {
        application.path = if index == 0 { String::new() } else { format!("/{index}") };
        application.name = format!("{name}{}", application.path).into();
    }
    let bindings = [format!("http://{name}.example:80"), format!("unix:/run/{name}.sock")];
    let bindings = bindings.map(|text| text.parse().unwrap()).to_vec();
    Site {
        name: name.into(),
        bindings,
        tls: None,
        applications,
        front: Front::default(),
        proxy_protocol: false,
    }
}

fn any_application() -> impl Strategy<Value = Application> {
    let files = any_path().prop_map(|root| Application::new("", Artifact::Files(Files::new(root))));
    prop_oneof![4 => any_program(), 1 => files, 1 => any_upstreams()]
}

fn any_upstreams() -> impl Strategy<Value = Application> {
    let place = prop_oneof![
        any::<(std::net::Ipv6Addr, NonZeroU16)>()
            .prop_map(|(address, port)| Endpoint::Tcp((address, port.get()).into()).into()),
        any_path().prop_map(|path| Endpoint::Unix(path.into()).into()),
        ("[a-z]([a-z0-9-]{0,8}[a-z0-9])?", 1..=u16::MAX)
            .prop_map(|(host, port)| Place::Named { host: host.into(), port }),
    ];
    let weight = (1..=1000_u16).prop_map(|weight| NonZeroU16::new(weight).unwrap());
    let upstream =
        (place, weight).prop_map(|(place, weight)| Upstream { place, scheme: Scheme::Http, weight });
    vec(upstream, 1..4).prop_map(|mut members: Vec<Upstream>| {
        let mut seen = Vec::new();
        members.retain(|member| {
            !seen.contains(&member.place) && {
                seen.push(member.place.clone());
                true
            }
        });
        let mut application = Application::new("", Artifact::Upstreams(Upstreams::new(members)));
        application.content_root = "/etc/shop".into();
        application
    })
}

fn any_program() -> impl Strategy<Value = Application> {
    let library = any_path().prop_map(|path| Artifact::Library(path.into()));
    let command = vec(any_argument(), 0..4)
        .prop_map(|arguments| Artifact::Command(["serve".to_owned()].into_iter().chain(arguments).collect()));
    let model = proptest::sample::select(&ConfiguredModel::ALL[..]);
    let environment = proptest::collection::btree_map("[A-Z]{1,6}", any_argument(), 0..3);
    (prop_oneof![library, command], model, any_options(), any_path(), environment).prop_map(
        |(artifact, model, options, root, environment)| {
            let mut application = Application::new("", artifact);
            if matches!(application.artifact, Artifact::Library(_)) {
                application.host_as(model);
            }
            application.options = options;
            application.content_root = root.into();
            application.settings = serde_json::to_value(&environment).unwrap();
            application.process.environment = environment;
            application
        },
    )
}

fn any_options() -> impl Strategy<Value = Options> {
    (
        option::of(any_duration()),
        any_duration(),
        option::of(1..=i64::MAX as u64),
        1..1_000_000_usize,
        any::<bool>(),
    )
        .prop_map(|(request_timeout, startup_timeout, max_request_body, queue_limit, preload)| Options {
            request_timeout,
            startup_timeout,
            max_request_body,
            queue_limit,
            preload,
            ..Options::default()
        })
}

fn any_duration() -> impl Strategy<Value = Duration> {
    (1..31_000_000_000_u64).prop_map(Duration::from_millis)
}

fn any_path() -> impl Strategy<Value = String> {
    "/[a-zä ${}]{1,20}/x"
}

fn any_argument() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("no NUL reaches a process", |text| !text.contains('\0'))
}

/// `config` as somebody would write it.
fn written(config: &Config) -> String {
    let mut out = String::new();
    let Config { log, server, sites, .. } = config;
    let format = match log.format {
        LogFormat::Auto => "auto",
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    writeln!(out, "[log]\nlevel = {:?}\nformat = {format:?}\naccess = {}", log.level, log.access).unwrap();
    let Proxy::Network(network) = server.trusted_proxies[0] else { panic!("only networks are made") };
    writeln!(out, "[server]\ntrusted_proxies = [\"{network}\"]").unwrap();
    if let Some(threads) = server.threads {
        writeln!(out, "threads = {threads}").unwrap();
    }
    let most = server.max_connections.map_or("\"none\"".to_owned(), |most| most.to_string());
    writeln!(out, "max_connections = {most}\nheader_timeout = {}", duration(server.header_timeout)).unwrap();
    let unknown = match server.unknown_authority {
        UnknownAuthority::DefaultSite => "default",
        UnknownAuthority::Misdirected => "misdirected",
        UnknownAuthority::NotFound => "not_found",
    };
    writeln!(out, "unknown_authority = {unknown:?}").unwrap();
    for Site { name, bindings, applications, .. } in sites {
        let bindings: Vec<_> = bindings.iter().map(|binding| text(&binding.text)).collect();
        writeln!(out, "[[site]]\nname = {}\nbindings = [{}]", text(name), bindings.join(", ")).unwrap();
        for application in applications {
            write_application(&mut out, application);
        }
    }
    out
}

fn write_application(out: &mut String, application: &Application) {
    let Application { path, artifact, content_root, options, process, .. } = application;
    writeln!(out, "[[site.application]]\npath = {}", text(if path.is_empty() { "/" } else { path })).unwrap();
    match artifact {
        Artifact::Library(path) => writeln!(out, "library = {}", text(path.to_str().unwrap())).unwrap(),
        Artifact::Command(words) => {
            let words: Vec<_> = words.iter().map(|word| text(word)).collect();
            writeln!(out, "command = [{}]", words.join(", ")).unwrap();
        }
        Artifact::Upstreams(upstreams) => {
            let one = |Upstream { place, weight, .. }: &Upstream| {
                let scheme = if matches!(place, Place::At(Endpoint::Unix(_))) { "" } else { "http://" };
                format!("{{ url = {}, weight = {weight} }}", text(&format!("{scheme}{place}")))
            };
            let members: Vec<_> = upstreams.members.iter().map(one).collect();
            writeln!(out, "upstreams = [{}]", members.join(", ")).unwrap();
            return;
        }
        Artifact::Files(files) => {
            writeln!(out, "static = {}", text(files.root.to_str().unwrap())).unwrap();
            return;
        }
    }
    writeln!(out, "hosting_model = \"{}\"", application.configured_model()).unwrap();
    writeln!(out, "content_root = {}", text(content_root.to_str().unwrap())).unwrap();
    let request_timeout = options.request_timeout.map_or("\"none\"".to_owned(), duration);
    writeln!(out, "request_timeout = {request_timeout}").unwrap();
    writeln!(out, "startup_timeout = {}", duration(options.startup_timeout)).unwrap();
    let most = options.max_request_body.map_or("\"none\"".to_owned(), |most| most.to_string());
    writeln!(out, "max_request_body = {most}\nqueue_limit = {}", options.queue_limit).unwrap();
    writeln!(out, "preload = {}\n{}", options.preload, table("environment", &process.environment)).unwrap();
    writeln!(out, "{}", table("settings", &process.environment)).unwrap();
}

fn table(name: &str, values: &BTreeMap<String, String>) -> String {
    let values: Vec<_> = values.iter().map(|(key, value)| format!("{key} = {}", text(value))).collect();
    format!("{name} = {{ {} }}", values.join(", "))
}

fn duration(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// `text` as TOML: quotes, escapes, and dollars doubled.
fn text(text: &str) -> String {
    let escape = |character: char| match character {
        '$' => "$$".to_owned(),
        '"' | '\\' => format!("\\{character}"),
        control if control.is_control() => format!("\\U{:08X}", u32::from(control)),
        other => other.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}
