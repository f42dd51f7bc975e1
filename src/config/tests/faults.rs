//! Every fault that a file can have, with the line and column that it is reported at.

use super::parse;

/// The faults of `text`, without the name of the file.
pub(super) fn faults(text: &str) -> Vec<String> {
    let faults = parse(text).expect_err("a fault");
    let line = |fault: &crate::config::Fault| {
        fault.to_string().strip_prefix("/etc/shop/cohost.toml:").expect("the file's name").to_owned()
    };
    faults.iter().map(line).collect()
}

/// The only fault of a site whose application has `written` on its sixth line.
pub(super) fn in_application(written: &str) -> String {
    let library = if written.contains("command") { "" } else { "library = 'libshop.so'" };
    let text = format!(
        "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\n{library}\n{written}\n"
    );
    let [fault] = faults(&text).try_into().unwrap();
    fault
}

/// The only fault of a configuration that begins with `written`.
pub(super) fn before_the_site(written: &str) -> String {
    let text = format!(
        "{written}\n[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\nlibrary = 'x'\n"
    );
    let [fault] = faults(&text).try_into().unwrap();
    fault
}

/// The only fault of a site with `bindings`, which begin at column 13 of line 2.
fn in_bindings(bindings: &str) -> String {
    let text =
        format!("[[site]]\nbindings = [{bindings}]\nname = 'shop'\napplication = [{{ library = 'x' }}]\n");
    let [fault] = faults(&text).try_into().unwrap();
    fault
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
[server]
threads = 0
shutdown_timeout = \"10 parsecs\"

[[site]]
nam = \"shop\"
bindings = [\"htp://shop.example\", \"http://*:80\"]

[[site.application]]
path = \"cart\"
library = \"libcart.so\"
queue_limit = -1
";
    assert_eq!(
        faults(text),
        [
            "2:11: server.threads: must be at least 1 (is 0)",
            "3:20: server.shutdown_timeout: not a duration: \"10 parsecs\"",
            "5:1: site[1].name: is missing",
            "6:1: site[1].nam: unknown key; did you mean name?",
            "7:13: site[1].bindings: must begin with http://, https:// or unix: (is \"htp://shop.example\"); \
             did you mean \"http://shop.example\"?",
            "10:8: site[1].application.cart.path: must begin with / (is \"cart\"); did you mean \"/cart\"?",
            "12:15: site[1].application.cart.queue_limit: must be at least 1 (is -1)",
        ]
    );
}

#[test]
fn broken_toml_is_reported_where_it_breaks_and_nothing_else() {
    let faults = faults("[log]\nlevel = \nthreads = 0\n[[site]]\nname = \"shop");
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("2:") && faults[1].starts_with("5:"), "{faults:?}");
}

#[test]
fn a_key_written_twice_is_refused() {
    let faults = faults("[log]\naccess = true\naccess = false\n");
    assert_eq!(faults, ["3:1: duplicate key"]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        before_the_site("log.level = 'info' # ä\nserver = { # ä\n  'ä' = 1 }"),
        "3:3: server.ä: unknown key"
    );
    assert_eq!(
        before_the_site("server = { trusted_proxies = ['::1', 'ä'], threads = 1 }").get(..5),
        Some("1:38:")
    );
    assert_eq!(in_application("environment = { A = 'ä', B = 5 }").get(..5), Some("6:30:"));
}

#[test]
fn without_a_site_or_an_application_there_is_nothing_to_host() {
    assert_eq!(faults(""), ["1:1: site: there is none; a configuration needs at least one [[site]]"]);
    assert_eq!(
        faults("site = []"),
        ["1:1: site: there is none; a configuration needs at least one [[site]]"]
    );
    assert_eq!(
        faults("[[site]]\nname = 'shop'\nbindings = ['http://*:80']"),
        ["1:1: site.shop.application: there is none; a site needs at least one [[site.application]]"]
    );
}

#[test]
fn lists_of_tables_are_written_as_such() {
    assert_eq!(
        faults("[site]\nname = 'x'"),
        ["1:1: site: must be written [[site]], since there may be several"]
    );
    assert_eq!(
        faults("[[site]]\nname = 'x'\nbindings = ['http://*']\n[site.application]\nlibrary = 'x'"),
        ["4:1: site.x.application: must be written [[site.application]], since there may be several"]
    );
    assert_eq!(before_the_site("server = 1"), "1:10: server: must be a table (is a whole number)");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_or_the_place_where_it_belongs() {
    assert_eq!(before_the_site("[servr]"), "1:2: servr: unknown key; did you mean server?");
    assert_eq!(
        before_the_site("[log]\nfromat = 'json'"),
        "2:1: log.fromat: unknown key; did you mean format?"
    );
    assert_eq!(before_the_site("[log]\ncolour = true"), "2:1: log.colour: unknown key");
    assert_eq!(before_the_site("threads = 2"), "1:1: threads: unknown key here; it belongs in [server]");
    assert_eq!(
        in_application("liberry = 'x'"),
        "6:1: site.shop.application./.liberry: unknown key; did you mean library?"
    );
}

#[test]
fn sites_have_names_that_differ() {
    let site = |name: &str, port: u16| {
        format!(
            "[[site]]\nname = {name}\nbindings = ['http://*:{port}']\napplication = [{{ library = 'x' }}]\n"
        )
    };
    assert_eq!(
        faults(&(site("'shop'", 1) + &site("'shop'", 2))),
        ["6:8: site.shop.name: another site is called \"shop\" (line 2)"]
    );
    assert_eq!(
        faults(&site("'two words'", 1)),
        ["2:8: site.two words.name: must be 1 to 64 of a-z A-Z 0-9 - _ . (is \"two words\")"]
    );
    assert_eq!(faults(&site("''", 1)), ["2:8: site[1].name: must be 1 to 64 of a-z A-Z 0-9 - _ . (is \"\")"]);
    assert_eq!(faults(&site("5", 1)), ["2:8: site[1].name: must be text in quotes (is a whole number)"]);
}

#[test]
fn a_site_is_bound_somewhere_and_nowhere_twice() {
    assert_eq!(in_bindings(""), "2:12: site.shop.bindings: must have at least one (is empty)");
    assert_eq!(
        in_bindings("'http://Shop.example', 'http://shop.example:80'"),
        "2:36: site.shop.bindings: is bound already (line 2)"
    );
    assert_eq!(
        in_bindings("'http://*:80', 'http://127.0.0.1:80'"),
        "2:28: site.shop.bindings: http://*:80 (line 2) listens on all addresses of that port, and \
         http://127.0.0.1:80 on one; use the same for both, or another port"
    );
    assert_eq!(in_bindings("80"), "2:13: site.shop.bindings: must be text in quotes (is a whole number)");
    let text = "[[site]]\nname = 'shop'\nbindings = 'http://*:80'\napplication = [{ library = 'x' }]\n";
    assert_eq!(
        faults(text),
        ["3:12: site.shop.bindings: must be a list (is text); did you mean ['http://*:80']?"]
    );
    let text = "[[site]]\nname = 'shop'\napplication = [{ library = 'x' }]\n";
    assert_eq!(
        faults(text),
        [
            "1:1: site.shop.bindings: is missing; say where the site is reached, as bindings = [\"http://127.0.0.1:8080\"]"
        ]
    );
}

#[test]
fn two_sites_cannot_share_a_binding() {
    let site = |name: &str, binding: &str| {
        format!("[[site]]\nname = '{name}'\nbindings = ['{binding}']\napplication = [{{ library = 'x' }}]\n")
    };
    let taken = "7:13: site.b.bindings: is bound already (line 3)";
    assert_eq!(faults(&(site("a", "http://x.example:80") + &site("b", "http://X.example"))), [taken]);
    assert_eq!(faults(&(site("a", "unix:/run/x") + &site("b", "unix:///run/x"))), [taken]);
    assert!(parse(&(site("a", "http://x.example") + &site("b", "http://*:80"))).is_ok());
    assert!(parse(&(site("a", "http://127.0.0.1:0") + &site("b", "http://127.0.0.1:0"))).is_ok());
    assert!(parse(&(site("a", "http://127.0.0.1:80") + &site("b", "http://127.0.0.2:80"))).is_ok());
}

#[test]
fn applications_of_a_site_have_paths_and_names_that_differ() {
    let applications = |first: &str, second: &str| {
        let site = "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\nlibrary = 'x'";
        faults(&format!("{site}\n{first}\n[[site.application]]\nlibrary = 'x'\n{second}\n"))
    };
    assert_eq!(
        applications("path = '/a'", "path = '/a/'"),
        ["9:8: site.shop.application./a/.path: another application of the site is at \"/a\" (line 6)"]
    );
    assert_eq!(
        applications("", ""),
        ["7:1: site.shop.application./.path: another application of the site is at \"/\" (line 4)"]
    );
    assert_eq!(
        applications("name = 'a'", "path = '/b'\nname = 'a'"),
        ["10:8: site.shop.application./b.name: another application is called \"a\" (line 6)"]
    );
}

#[test]
fn a_path_can_be_written_in_one_way_only() {
    let path = |path: &str| in_application(&format!("path = '{path}'"));
    assert_eq!(
        path("a"),
        "6:8: site.shop.application.a.path: must begin with / (is \"a\"); did you mean \"/a\"?"
    );
    assert_eq!(
        path("/a/../b"),
        "6:8: site.shop.application./a/../b.path: must not contain dot segments (is \"/a/../b\")"
    );
    assert_eq!(path("/."), "6:8: site.shop.application./..path: must not contain dot segments (is \"/.\")");
    assert_eq!(
        path("//"),
        "6:8: site.shop.application.//.path: must not contain an empty segment (is \"//\")"
    );
    assert_eq!(
        path("/a//b"),
        "6:8: site.shop.application./a//b.path: must not contain an empty segment (is \"/a//b\")"
    );
    assert_eq!(path("/%61"), "6:8: site.shop.application.\"/%61\".path: must not contain '%' (is \"/%61\")");
    assert_eq!(path("/a?b"), "6:8: site.shop.application.\"/a?b\".path: must not contain '?' (is \"/a?b\")");
}

#[test]
fn an_application_is_a_library_or_a_command() {
    let site = "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\n";
    assert_eq!(
        faults(site),
        [
            "4:1: site.shop.application./.library: is missing; an application is a library = \"…\", a command = […], \
             static = \"…\" or upstreams = […]"
        ]
    );
    assert_eq!(
        faults(&format!("{site}library = 'x'\ncommand = ['y']")),
        [
            "6:11: site.shop.application./.command: an application is a library or a command, not both; leave one out"
        ]
    );
    assert_eq!(in_application("library = ''"), "5:1: duplicate key".replace("5:1", "6:1"));
    assert_eq!(
        in_application("command = 'node server.js'"),
        "6:11: site.shop.application./.command: must be a list of the program and its arguments \
         (is \"node server.js\"); did you mean [\"node\", \"server.js\"]?"
    );
    assert_eq!(
        in_application("command = []"),
        "6:11: site.shop.application./.command: must name a program (is empty)"
    );
    assert_eq!(
        in_application("command = 5"),
        "6:11: site.shop.application./.command: must be a list (is a whole number); did you mean [5]?"
    );
    assert_eq!(
        in_application("content_root = ''"),
        "6:16: site.shop.application./.content_root: must be a path (is empty)"
    );
}

#[test]
fn a_command_has_a_process_of_its_own() {
    assert_eq!(
        in_application("command = ['x']\nhosting_model = 'inprocess'"),
        "7:17: site.shop.application./.hosting_model: a command has a process of its own; only a library can be \
         hosted in process; did you mean \"outofprocess\"?"
    );
    assert_eq!(
        in_application("hosting_model = 'in-process'"),
        "6:17: site.shop.application./.hosting_model: must be \"inprocess\", \"outofprocess\" or \"auto\" (is \"in-process\"); \
         did you mean \"inprocess\"?"
    );
}

#[test]
fn a_command_cannot_be_demoted_and_neither_can_what_is_not_hosted_by_itself() {
    assert_eq!(
        in_application("command = ['x']\nhosting_model = 'auto'"),
        "7:17: site.shop.application./.hosting_model: a command has a process of its own; only a library can be \
         hosted in process; did you mean \"outofprocess\"?"
    );
    assert_eq!(
        in_application("demote_after = 2"),
        "6:16: site.shop.application./.demote_after: has an effect only with hosting_model = \"auto\"; leave it out"
    );
}

#[test]
fn what_has_no_effect_is_refused() {
    for key in ["listen = 'port'", "port = 9000", "protocol = 'h2c'"] {
        let (name, _) = key.split_once(" =").unwrap();
        assert_eq!(
            in_application(key),
            format!(
                "6:{}: site.shop.application./.{name}: is for commands; a library is told by the host",
                name.len() + 4
            )
        );
    }
    assert_eq!(
        in_application("command = 'x'\nlisten = 'socket'\nport = 9000"),
        "8:8: site.shop.application./.port: has no effect with listen = \"socket\"; leave one of them out"
    );
    assert_eq!(
        in_application("ready = 'accepts'\nhealth = '/h'"),
        "7:10: site.shop.application./.health: is asked for only with ready = \"health\"; leave one of them out"
    );
}

#[test]
fn readiness_by_health_needs_a_path() {
    assert_eq!(
        in_application("ready = 'health'"),
        "6:9: site.shop.application./.ready: needs the path to ask for as well, as health = \"/health\""
    );
    assert_eq!(
        in_application("health = 'up'"),
        "6:10: site.shop.application./.health: must begin with / (is \"up\"); did you mean \"/up\"?"
    );
}

#[test]
fn two_commands_cannot_have_the_same_port() {
    let site = "[[site]]\nname = 'a'\nbindings = ['http://*:80']\n";
    let one = "[[site.application]]\ncommand = 'x'\nport = 9000\n";
    let other = "[[site.application]]\npath = '/b'\ncommand = 'x'\nport = 9000\n";
    assert_eq!(
        faults(&format!("{site}{one}{other}")),
        ["10:8: site.a.application./b.port: another application listens on port 9000 (line 6)"]
    );
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(
        in_application("runtime_threads = 10001"),
        "6:19: site.shop.application./.runtime_threads: must be at most 10000 (is 10001)"
    );
    assert_eq!(
        in_application("blocking_threads = 1.5"),
        "6:20: site.shop.application./.blocking_threads: must be a whole number (is a number)"
    );
    assert_eq!(
        in_application("rapid_fails_per_minute = 99999999999999999999"),
        "6:26: site.shop.application./.rapid_fails_per_minute: is too large a number (is 99999999999999999999)"
    );
    assert_eq!(
        in_application("command = 'x'\nport = 0"),
        "7:8: site.shop.application./.port: must be at least 1 (is 0)"
    );
    assert_eq!(
        before_the_site("server.max_connections = 'many'"),
        "1:26: server.max_connections: must be a whole number (is \"many\")"
    );
}

#[test]
fn durations_have_units_and_bounds() {
    let fault = |written: &str| in_application(&format!("startup_timeout = {written}"));
    let key = "6:19: site.shop.application./.startup_timeout";
    assert_eq!(
        fault("10"),
        format!("{key}: must be a duration with its unit (is 10); did you mean \"10s\"?")
    );
    assert_eq!(fault("'10'"), format!("{key}: not a duration: \"10\"; did you mean \"10s\"?"));
    assert_eq!(fault("''"), format!("{key}: not a duration: \"\""));
    assert_eq!(fault("'0s'"), format!("{key}: must be longer than nothing (is \"0s\")"));
    assert_eq!(fault("'2years'"), format!("{key}: must be at most 365 days (is \"2years\")"));
    assert_eq!(fault("'99999999999999999999y'"), format!("{key}: not a duration: \"99999999999999999999y\""));
    assert_eq!(fault("true"), format!("{key}: must be text in quotes (is true or false)"));
    assert_eq!(fault("'none'"), format!("{key}: not a duration: \"none\""));
}

#[test]
fn sizes_have_units_and_bounds() {
    let fault = |written: &str| in_application(&format!("max_request_body = {written}"));
    let key = "6:20: site.shop.application./.max_request_body";
    assert_eq!(fault("'30 loaves'"), format!("{key}: not a size, as \"30MB\" is: \"30 loaves\""));
    assert_eq!(
        fault("'0MB'"),
        format!("{key}: must be at least 1 byte (is \"0MB\"); did you mean \"none\"?")
    );
    assert_eq!(fault("0"), format!("{key}: must be at least 1 (is 0)"));
    assert_eq!(
        fault("'9EiB'"),
        format!("{key}: must be less than 8EiB (is \"9EiB\"); did you mean \"none\"?")
    );
}

#[test]
fn switches_and_words_are_checked() {
    assert_eq!(
        in_application("preload = 'yes'"),
        "6:11: site.shop.application./.preload: must be true or false (is \"yes\")"
    );
    assert_eq!(
        in_application("preload = 1"),
        "6:11: site.shop.application./.preload: must be true or false (is a whole number)"
    );
    assert_eq!(
        before_the_site("server.unknown_authority = '404'"),
        "1:28: server.unknown_authority: must be \"default\", \"misdirected\" or \"not_found\" (is \"404\")"
    );
    assert_eq!(
        before_the_site("log.level = 'a b=info'"),
        "1:13: log.level: \"a b\" is no target, as \"app::db\" is (is \"a b=info\")"
    );
    assert_eq!(
        before_the_site("log.level = '=info'"),
        "1:13: log.level: a target is missing before \"=\" (is \"=info\")"
    );
    assert!(before_the_site("log.level = 'debg'").ends_with("(is \"debg\"); did you mean \"debug\"?"));
}

#[test]
fn variables_and_settings_are_checked_where_they_stand() {
    assert_eq!(
        in_application("environment = { OK = 'x', PLACE = '${NOWHERE}' }"),
        "6:35: site.shop.application./.environment.PLACE: the variable NOWHERE is not set; set it, or write \
         ${NOWHERE:-default}"
    );
    assert_eq!(
        in_application("environment = { 'A=B' = 'x' }"),
        "6:17: site.shop.application./.environment.A=B: not the name of a variable: \"A=B\""
    );
    assert_eq!(
        in_application("environment = { A = 5 }"),
        "6:21: site.shop.application./.environment.A: must be text in quotes (is a whole number)"
    );
    assert_eq!(
        in_application("settings = { a = { b = [1, nan] } }"),
        "6:28: site.shop.application./.settings: must be a number that JSON has (is nan)"
    );
    assert_eq!(
        in_application("settings = 5"),
        "6:12: site.shop.application./.settings: must be a table (is a whole number)"
    );
    assert_eq!(
        in_application("settings = { a = \"\\u0000\" }"),
        "6:18: site.shop.application./.settings: must not contain a NUL character (is \"\\0\")"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &std::path::Path| crate::config::read(path, &|_| None).unwrap_err().to_string();
    let missing = folder.path().join("cohost.toml");
    assert!(read(&missing).starts_with(&format!("{}: cannot be opened: ", missing.display())));
    let latin1 = folder.path().join("latin1.toml");
    std::fs::write(&latin1, b"\n# \xe4\n").unwrap();
    assert_eq!(read(&latin1), format!("{}: is not UTF-8 (line 2)", latin1.display()));
    let large = folder.path().join("large.toml");
    std::fs::write(&large, vec![b'\n'; (4 << 20) + 1]).unwrap();
    assert_eq!(read(&large), format!("{}: is larger than 4 MiB, which no configuration is", large.display()));
}
