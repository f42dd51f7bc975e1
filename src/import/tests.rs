//! Files as people have them, and files as nobody has them: what is made of them is a configuration.

use std::{collections::BTreeMap, fs, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::{Imported, Unreadable, text, web_config};
use crate::{
    config::{self, Artifact, Config},
    front::{Enforcement, Users, rewrite::Subject},
};

/// Files as people have them.
fn corpus() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let read = |path: std::path::PathBuf| (name(&path), text(&fs::read(&path).unwrap()).unwrap());
    files.filter(|path| path.extension().is_some_and(|end| end == "config")).map(read).collect()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn import(name: &str) -> Imported {
    web_config(&corpus()[name], name).unwrap()
}

fn read(imported: &Imported) -> Config {
    let read = config::parse(&imported.text, Path::new("/srv/cohost.toml"), &|_| None);
    read.unwrap_or_else(|faults| panic!("{faults}\n{}", imported.text))
}

/// Whether some note of this line says this.
fn notes(imported: &Imported, line: usize, text: &str) -> bool {
    imported.notes.iter().any(|note| note.line == line && note.text.contains(text))
}

#[test]
fn whatever_is_imported_is_a_configuration_without_faults() {
    let corpus = corpus();
    assert!(corpus.len() >= 8);
    for (name, text) in corpus {
        let imported = web_config(&text, &name).unwrap();
        assert_eq!(&*read(&imported).sites[0].name, name);
        for note in &imported.notes {
            assert!(imported.text.contains(&note.to_string()) && note.line <= text.lines().count(), "{note}");
        }
    }
}

#[test]
fn what_visual_studio_publishes_needs_one_command() {
    let imported = import("aspnet-core");
    let application = &read(&imported).sites[0].applications[0];
    assert_eq!(application.artifact, Artifact::Command(vec!["dotnet".into(), "./Portal.dll".into()]));
    assert_eq!(application.content_root, Path::new("/srv"));
    assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
    assert!(notes(&imported, 8, "hostingModel"));
}

#[test]
fn what_the_module_is_told_the_application_has() {
    let imported = import("aspnet-core-everything");
    let config = read(&imported);
    let application = &config.sites[0].applications[0];
    let words = ["dotnet", "./Shop.Web.dll", "--title", "two words", "--folder", "./data"];
    assert_eq!(application.artifact, Artifact::Command(words.map(str::to_owned).to_vec()));
    let options = &application.options;
    assert_eq!((options.startup_timeout.as_secs(), options.shutdown_timeout.as_secs()), (90, 20));
    assert_eq!((options.first_byte_timeout.as_secs(), options.rapid_fails_per_minute), (300, 20));
    assert_eq!(options.max_request_body, Some(104_857_600));
    let environment = &application.process.environment;
    assert_eq!(
        (&*environment["PRICE"], &*environment["ASPNETCORE_ENVIRONMENT"]),
        ("$5 of ${TOTAL}", "Production")
    );
    assert_eq!(config.output(&application.name).folder, Path::new("/srv/logs"));
    let ip = config.sites[0].front.ip.as_ref().unwrap();
    assert_eq!(
        ip.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.168.1.7/32"]
    );
    assert_eq!(ip.deny.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.9.0.0/16"]);
    assert!(config.sites[0].front.compression.is_some());
    for what in [
        "runs inside IIS",
        "program for Windows",
        "<aspNetCore forwardWindowsAuthToken>",
        "<aspNetCore processesPerApplication>",
        "<environmentVariable>: stands here a second time",
        "<handlerSettings>",
        "no names of domains",
        "<windowsAuthentication>",
        "never replaced",
        "the path \"admin\" alone",
        "is read by .NET",
    ] {
        assert!(imported.notes.iter().any(|note| note.text.contains(what)), "{what}: {:#?}", imported.notes);
    }
}

#[test]
fn rules_for_answers_keep_their_conditions() {
    let imported = import("rewrite");
    let rules = &read(&imported).sites[0].front.outbound;
    let told: Vec<_> =
        rules.iter().map(|rule| (&*rule.name, rule.conditions.len(), rule.any, rule.add)).collect();
    let expected = [
        ("server", 0, false, false),
        ("hsts", 1, false, true),
        ("frames", 1, false, true),
        ("http only", 2, false, true),
        ("origin", 1, false, true),
        ("errors of pages", 2, true, true),
    ];
    assert_eq!(told, expected);
    for (line, what) in [
        (83, "\"links\": bodies of answers"),
        (100, "\"errors\": one of several conditions is enough"),
        (108, "\"nowhere\": there is no preCondition \"Gone\""),
        (112, "files are looked for when a request comes"),
        (128, "bodies of answers"),
    ] {
        assert!(notes(&imported, line, what), "{line} {what}: {:#?}", imported.notes);
    }
}

#[test]
fn nobody_gets_in_who_did_not_before() {
    let imported = import("security");
    let front = &read(&imported).sites[0].front;
    let basic = front.auth.as_ref().unwrap().basic.as_ref().unwrap();
    assert_eq!((&basic.users, &*basic.realm), (&Users::These(Vec::new()), "Price lists"));
    let rules = &front.rewrite.as_ref().unwrap().rules;
    let told: Vec<_> = rules.iter().map(|rule| (&*rule.name, rule.pattern.as_str())).collect();
    let expected =
        [("closed: admin", "(?i)^admin(?:/|$)"), ("home", "(?i)^$"), ("rewrite[3]", "(?i)^old(?:/|$)")];
    assert_eq!(told, expected);
    for (line, what) in [
        (6, "nobody gets in until there are users"),
        (7, "htpasswd -B -c users NAME"),
        (8, "[site.auth.forward]"),
        (11, "nobody gets in until"),
        (13, r#"users = { "alice" = "HASH", "SHOP\\bob" = "HASH" }"#),
        (14, "\"Administrators\" are groups"),
        (15, "\"mallory\" are kept out"),
        (16, "denied_verbs = [\"PUT\", \"DELETE\"] in [site.filter]"),
        (62, "read by .NET"),
        (67, "the path \"admin\" alone: who may come in"),
        (68, "[[site.application]] with that path"),
        (69, "[[site.application]] with that path"),
        (71, "path = \"/admin\" and the command"),
    ] {
        assert!(notes(&imported, line, what), "{line} {what}: {:#?}", imported.notes);
    }
    assert!(imported.notes.iter().all(|note| !note.text.contains("\"login\"")), "{:#?}", imported.notes);
}

#[test]
fn limits_by_client_have_the_numbers_of_iis() {
    let imported = import("security");
    let limits = &read(&imported).sites[0].front.limits;
    let rate = limits[1].rate.unwrap();
    assert_eq!(limits[0].concurrent.unwrap().get(), 5);
    assert_eq!((rate.requests.get(), rate.per.as_millis(), rate.burst.get()), (30, 300, 30));
    assert!(limits.iter().all(|limit| limit.enforcement == Enforcement::Log));
    assert!(notes(&imported, 18, "in place of AbortRequest, who makes more gets 429"));
    assert!(notes(&imported, 18, "trusted_proxies = [\"10.0.0.0/8\"]"));
}

#[test]
fn what_holds_for_a_path_becomes_rules_with_patterns() {
    let config = read(&import("security"));
    let site = &config.sites[0];
    let Artifact::Files(files) = &site.applications[0].artifact else { panic!("no files") };
    let lifetime = |path: &str| {
        let fits = files.cache_control.iter().find(|(pattern, _)| pattern.fits(path));
        fits.map(|(_, value)| value.to_str().unwrap().to_owned())
    };
    assert_eq!(lifetime("/images/a.png").as_deref(), Some("max-age=604800"));
    assert_eq!(lifetime("/service-worker.js").as_deref(), Some("no-cache"));
    assert_eq!(lifetime("/a.png").as_deref(), Some("max-age=60"));
    let asked = HeaderMap::new();
    let mut fields =
        HeaderMap::from_iter([(HeaderName::from_static("x-powered-by"), HeaderValue::from_static("x"))]);
    let amend = |path: &str, fields: &mut HeaderMap| {
        for rule in &site.front.outbound {
            rule.amend(Subject::new(path, None, "GET", &asked), StatusCode::OK, fields);
        }
    };
    amend("/imagesque/", &mut fields);
    assert_eq!(fields.len(), 1);
    amend("/Images/a.png", &mut fields);
    assert_eq!((fields.len(), &fields["access-control-allow-origin"]), (1, &HeaderValue::from_static("*")));
}

#[test]
fn a_secret_that_is_not_translated_is_not_repeated() {
    let imported = import("aspnet-framework");
    assert!(!imported.text.contains("secret"), "{}", imported.text);
    assert!(notes(&imported, 6, "connectionStrings"));
    let application = read(&imported).sites[0].applications[0].artifact.clone();
    assert!(matches!(application, Artifact::Files(files) if files.browse));
}

#[test]
fn a_program_of_any_kind_is_told_its_port() {
    let application = &read(&import("node")).sites[0].applications[0];
    let words = ["node", "server.js", "--port", "{port}"];
    assert_eq!(application.artifact, Artifact::Command(words.map(str::to_owned).to_vec()));
}

#[test]
fn a_file_of_windows_is_text() {
    let wide = |text: &str, of: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(of).collect()
    };
    assert_eq!(text(&wide("<ü/>", u16::to_le_bytes)).unwrap(), "<ü/>");
    assert_eq!(text(&wide("<ü/>", u16::to_be_bytes)).unwrap(), "<ü/>");
    assert_eq!(text("\u{feff}<a/>".as_bytes()).unwrap(), "<a/>");
    assert!(matches!(text(&[0xff, 0x00]), Err(Unreadable::NoText)));
    assert!(matches!(text(&vec![b' '; 2 << 20]), Err(Unreadable::TooLarge)));
}

#[test]
fn entities_are_not_expanded_and_depth_is_no_danger() {
    let bomb =
        "<!DOCTYPE c [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><configuration>&b;</configuration>";
    assert!(matches!(web_config(bomb, "x"), Err(Unreadable::NoXml(_))));
    let outside = "<!DOCTYPE c SYSTEM 'file:///etc/passwd'><configuration/>";
    assert!(matches!(web_config(outside, "x"), Err(Unreadable::NoXml(_))));
    let deep = format!(
        "<configuration>{}{}</configuration>",
        "<location>".repeat(20_000),
        "</location>".repeat(20_000)
    );
    // Whether it is refused or noted: nothing else happens.
    let _ = web_config(&deep, "x").map(|imported| read(&imported));
    assert!(matches!(web_config("<project/>", "x"), Err(Unreadable::Other(name)) if name == "project"));
}

/// What is made of these elements of `<system.webServer>`.
fn import_of(elements: &str) -> Imported {
    let file = format!("<configuration><system.webServer>{elements}</system.webServer></configuration>");
    web_config(&file, "x").unwrap()
}

fn import_rule(rule: &str) -> Imported {
    import_of(&format!("<rewrite><rules><rule name=\"r\">{rule}</rule></rules></rewrite>"))
}

#[test]
fn a_target_that_is_sent_on_whole_keeps_its_query() {
    let redirect = |url: &str| {
        import_rule(&format!("<action type=\"Redirect\" url=\"{url}\" appendQueryString=\"false\"/>"))
    };
    let whole = redirect("https://{HTTP_HOST}{REQUEST_URI}");
    assert!(
        whole.text.contains("\"https://{authority}{path}\"") && !whole.text.contains("drop"),
        "{}",
        whole.text
    );
    assert!(!notes(&whole, 1, "query"), "{:?}", whole.notes);
    read(&whole);
    let inside = redirect("/login?return={REQUEST_URI}");
    assert!(
        inside.text.contains("query = \"drop\"") && notes(&inside, 1, "without the query"),
        "{}",
        inside.text
    );
    let asked = import_rule(
        "<conditions><add input=\"{REQUEST_URI}\" pattern=\"\\?id=\"/></conditions><action type=\"AbortRequest\"/>",
    );
    assert!(notes(&asked, 1, "without the query"), "{:?}", asked.notes);
}

#[test]
fn a_pattern_that_must_not_match_sees_the_path_with_its_slash() {
    for (pattern, written) in [
        ("^api|^auth", "(?i)^/api|^/auth"),
        ("(^|/)[^/]+\\^x", "(?i)(^/|/)[^/]+\\^x"),
        ("x|y", "(?i)^/.*(?:x|y)"),
    ] {
        let rule = format!("<match url=\"{pattern}\" negate=\"true\"/><action type=\"AbortRequest\"/>");
        let imported = import_rule(&rule);
        let text = imported.text.replace("\\\\", "\\");
        assert!(
            text.contains(&format!("differs = \"{written}\""))
                || text.contains(&format!("differs = '{written}'")),
            "{text}"
        );
        read(&imported);
    }
}

#[test]
fn files_of_an_application_that_runs_are_looked_for_where_the_note_says() {
    let rule = "<rewrite><rules><rule name=\"r\"><conditions><add input=\"{REQUEST_FILENAME}\" matchType=\"IsFile\" \
                negate=\"true\"/></conditions><action type=\"Rewrite\" url=\"/\"/></rule></rules></rewrite>";
    assert!(!notes(&import_of(rule), 1, "write as root"));
    let program = format!("<aspNetCore processPath=\"dotnet\" arguments=\"a.dll\"/>{rule}");
    assert!(notes(&import_of(&program), 1, "write as root"));
}

#[test]
fn where_nothing_is_allowed_nothing_is() {
    let filtering = |inner: &str| {
        import_of(&format!("<security><requestFiltering>{inner}</requestFiltering></security>"))
    };
    for (inner, line) in [
        ("<verbs allowUnlisted=\"false\"/>", "allowed_verbs = [\"nobody\"]"),
        ("<fileExtensions allowUnlisted=\"false\"></fileExtensions>", "allowed_extensions = [\"nobody\"]"),
    ] {
        let imported = filtering(inner);
        assert!(imported.text.contains(line) && notes(&imported, 1, "lets nothing in"), "{}", imported.text);
        read(&imported);
    }
    let proxied = import_of("<security><ipSecurity enableProxyMode=\"true\"/></security>");
    assert!(notes(&proxied, 1, "trusted_proxies"), "{:?}", proxied.notes);
}

static PIECES: [&str; 16] = [
    "{R:1}",
    "{C:",
    "}",
    "{HTTP_HOST}",
    "\"",
    "'",
    "\n",
    "$",
    "${X",
    "\\",
    "[[site]]",
    "]",
    "(",
    "*",
    "%",
    "ä",
];

/// Texts that mean something in XML, in TOML, or in rules of IIS.
fn any_text() -> impl Strategy<Value = String> {
    let piece =
        prop_oneof![proptest::sample::select(&PIECES[..]).prop_map(str::to_owned), "[a-z0-9/.:=-]{0,6}"];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| {
        let text = pieces.concat();
        text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\n', "&#10;")
    })
}

#[test]
fn a_rule_that_matches_nothing_is_left_out_and_the_reason_told() {
    let file = "<configuration><system.webServer><rewrite><rules>\n<rule name=\"old\"><match url=\"^/old/(.*)\"/>\
        <action type=\"Redirect\" url=\"/new/{R:1}\"/></rule></rules></rewrite></system.webServer></configuration>";
    let imported = web_config(file, "x").unwrap();
    assert_eq!(read(&imported).sites[0].front.rewrite, None);
    assert!(notes(&imported, 2, "begins with a slash"), "{:?}", imported.notes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_stands_in_attributes_makes_no_faults(texts in proptest::collection::vec(any_text(), 12), site in ".{0,20}") {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = <[String; 12]>::try_from(texts).unwrap();
        let file = format!(
            "<configuration><system.webServer><aspNetCore processPath=\"{a}\" arguments=\"{b}\" requestTimeout=\"{c}\" \
             rapidFailsPerMinute=\"{d}\" stdoutLogEnabled=\"true\" stdoutLogFile=\"{e}\"><environmentVariables>\
             <environmentVariable name=\"{f}\" value=\"{g}\"/></environmentVariables></aspNetCore><rewrite><rewriteMaps>\
             <rewriteMap name=\"{h}\"><add key=\"{i}\" value=\"{j}\"/></rewriteMap></rewriteMaps><rules><rule name=\"{k}\">\
             <match url=\"{l}\"/><conditions><add input=\"{a}\" pattern=\"{b}\"/></conditions><action type=\"Redirect\" \
             url=\"{c}\"/></rule></rules></rewrite><httpProtocol><customHeaders><add name=\"{d}\" value=\"{e}\"/>\
             </customHeaders></httpProtocol><security><requestFiltering><verbs><add verb=\"{f}\" allowed=\"false\"/></verbs>\
             </requestFiltering><ipSecurity><add ipAddress=\"{g}\" subnetMask=\"{h}\"/></ipSecurity></security>\
             </system.webServer></configuration>"
        );
        read(&web_config(&file, &site).unwrap());
    }

    #[test]
    fn no_text_breaks_the_reader(garbage in ".{0,80}") {
        for file in [garbage.clone(), format!("<configuration><system.webServer>{garbage}</system.webServer></configuration>")] {
            if let Ok(imported) = web_config(&file, "x") {
                read(&imported);
            }
        }
    }
}
