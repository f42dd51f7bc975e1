//! What rules decide, and what no request can make of them.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proptest::prelude::*;

use super::*;
use crate::facts::{End, Scheme};

/// A disk with one file and one directory.
struct Fake;

impl Files for Fake {
    fn kind(&self, _: &Path, path: &str) -> Result<Option<Kind>, Unseen> {
        match path {
            "/there.txt" => Ok(Some(Kind::File)),
            "/folder" => Ok(Some(Kind::Directory)),
            "/broken" => Err(Unseen::Yet),
            _ => Ok(None),
        }
    }
}

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn rule(pattern: &str, action: Action) -> Rule {
    Rule {
        name: pattern.to_owned(),
        pattern: pattern.parse().unwrap(),
        conditions: Vec::new(),
        any: false,
        action,
        then: Then::Next,
    }
}

fn rewrite(pattern: &str, to: &str) -> Rule {
    rule(pattern, Action::Rewrite(template(to), Query::Keep))
}

fn redirect(pattern: &str, to: &str) -> Rule {
    rule(pattern, Action::Redirect(StatusCode::FOUND, template(to), Query::Drop))
}

fn matches(input: &str, pattern: &str) -> Condition {
    Condition { input: input.parse().unwrap(), test: Test::Matches(pattern.parse().unwrap()) }
}

fn maps() -> Maps {
    let old = [("/a", "/b?x=1"), ("/out", "https://other.example/"), ("*", "")];
    Maps([("old".to_owned(), old.map(|(key, value)| (key.to_owned(), value.to_owned())).into())].into())
}

/// What becomes of a request for `target` that came for `shop.example`.
fn decided(rules: Vec<Rule>, target: &str) -> Result<String, Refused> {
    let rules = Rules { rules, maps: maps() };
    let fields = HeaderMap::from_iter([
        (http::header::COOKIE, HeaderValue::from_static("a=1; lang=de/../x")),
        (http::header::USER_AGENT, HeaderValue::from_static("test \\ 1")),
    ]);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let subject =
        Subject::new(path, query, "GET", &fields).asked(Scheme::Https, "shop.example:8443", End::Unknown);
    Ok(match rules.decide(subject, &Fake, &mut |_, _| {})? {
        Outcome::Pass => "pass".to_owned(),
        Outcome::Rewritten(target) => target,
        Outcome::Redirect(status, target) => format!("{} {target}", status.as_u16()),
        Outcome::Respond(response) => response.status.as_u16().to_string(),
        Outcome::Abort => "abort".to_owned(),
    })
}

#[track_caller]
fn becomes(rules: Vec<Rule>, target: &str, outcome: &str) {
    assert_eq!(decided(rules, target).as_deref(), Ok(outcome), "{target}");
}

#[test]
fn groups_by_number_and_name_come_into_the_new_path() {
    let articles = || vec![rewrite("^articles/(?<id>[0-9]+)/(.*)$", "/article?id={id}&title={2}")];
    becomes(articles(), "/articles/7/a%20b", "/article?id=7&title=a%20b");
    becomes(articles(), "/articles/7/a&b=c?d=e", "/article?id=7&title=a%26b%3Dc&d=e");
    becomes(articles(), "/articles/x/", "pass");
    // The same path in another spelling.
    becomes(articles(), "/%61rticles/%37/", "/article?id=7&title=");
}

#[test]
fn a_query_comes_before_what_is_the_browsers_own() {
    let to = |target| vec![rule("^a$", Action::Redirect(StatusCode::FOUND, template(target), Query::Keep))];
    for (target, there) in [
        ("/new#part", "302 /new?x=1#part"),
        ("/new?y=2#part", "302 /new?y=2&x=1#part"),
        ("/new#part?", "302 /new?x=1#part?"),
        ("/new", "302 /new?x=1"),
    ] {
        becomes(to(target), "/a?x=1", there);
    }
    becomes(to("/new#part"), "/a", "302 /new#part");
}

#[test]
fn later_rules_see_what_earlier_ones_made_until_one_stops() {
    let first = || rewrite("^a$", "/b");
    let second = || rewrite("^b$", "/c");
    becomes(vec![first(), second()], "/a", "/c");
    becomes(vec![Rule { then: Then::Stop, ..first() }, second()], "/a", "/b");
    becomes(vec![second(), Rule { then: Then::Again, ..first() }], "/a", "/c");
}

#[test]
fn rules_that_go_round_in_a_circle_end_with_an_error() {
    let circle = |to| vec![Rule { then: Then::Again, ..rewrite("^.*$", to) }];
    assert!(matches!(decided(circle("/x"), "/a"), Err(Refused::Rules { .. })));
    // What grows has an end before that.
    assert!(matches!(decided(circle("/{0}{0}{0}{0}{0}{0}{0}{0}"), "/abcdefgh"), Err(Refused::Rules { .. })));
}

#[test]
fn conditions_hold_together_or_one_of_them() {
    let with = |any, conditions: &[Condition]| {
        vec![Rule { any, conditions: conditions.to_vec(), ..rewrite("^", "/x/{C:1}") }]
    };
    let (query, authority) = (matches("query", "^lang=([a-z]+)$"), matches("authority", "^(shop)[.]"));
    becomes(with(false, &[query.clone(), authority.clone()]), "/?lang=de", "/x/shop?lang=de");
    becomes(with(false, &[query.clone(), authority.clone()]), "/", "pass");
    becomes(with(true, &[query.clone(), authority]), "/?lang=de", "/x/de?lang=de");
    becomes(with(true, &[query, matches("method", "POST")]), "/", "pass");
    let other = Condition { input: Reference::Method, test: Test::Differs("^POST$".parse().unwrap()) };
    becomes(with(false, &[other]), "/", "/x/");
}

#[test]
fn files_and_directories_are_looked_for() {
    let with = |test| {
        let conditions = vec![Condition { input: Reference::Path, test }];
        vec![Rule { conditions, ..rewrite("^", "/index.php") }]
    };
    let no_file = || with(Test::IsNot(Kind::File, "/srv".into()));
    becomes(no_file(), "/there.txt", "pass");
    becomes(no_file(), "/else", "/index.php");
    becomes(with(Test::Is(Kind::Directory, "/srv".into())), "/folder", "/index.php");
    becomes(with(Test::Is(Kind::Directory, "/srv".into())), "/there.txt", "pass");
    // What nobody can say is neither a yes nor a no.
    for test in [Test::Is(Kind::File, "/srv".into()), Test::IsNot(Kind::File, "/srv".into())] {
        assert!(matches!(decided(with(test), "/broken"), Err(Refused::Files { why: Unseen::Yet, .. })));
    }
    // But only where it is asked.
    becomes(vec![Rule { pattern: "^other".parse().unwrap(), ..no_file().remove(0) }], "/broken", "pass");
}

#[test]
fn maps_lead_where_they_say() {
    let old = |condition| vec![Rule { conditions: vec![condition], ..redirect("^", "{C:1}") }];
    let known = || matches("map:old:path", "(.+)");
    becomes(old(known()), "/a", "302 /b?x=1");
    becomes(old(known()), "/out", "302 https://other.example/");
    becomes(old(known()), "/new", "pass");
    becomes(vec![rewrite("^(.*)$", "{map:old:path}")], "/a?y=2", "/b?x=1&y=2");
}

#[test]
fn nobody_is_sent_to_an_authority_that_a_client_has_written() {
    let anywhere = || vec![redirect("^(.*)$", "/{1}")];
    becomes(anywhere(), "//evil.example/x", "302 /evil.example/x");
    becomes(anywhere(), "/\\evil.example", "302 /%5Cevil.example");
    becomes(vec![redirect("^(.*)$", "{1}")], "/https://evil.example", "302 /https://evil.example");
    becomes(vec![redirect("^(x?)/?(.*)$", "/{1}/{2}")], "//evil.example", "302 /evil.example");
    becomes(vec![redirect("^", "{path}")], "//evil.example", "302 /evil.example");
    becomes(vec![redirect("^(.*)$", "https://{host}/{1}")], "//x", "302 https://shop.example//x");
    becomes(vec![redirect("^([^/]*)", "https://{1}.shop.example/")], "/de", "302 https://de.shop.example/");
    becomes(vec![redirect("^", "https://{host}{path}")], "//x", "302 https://shop.example//x");
    let below = || vec![redirect("^(.*)$", "https://{1}.shop.example/")];
    for target in ["/evil.example/", "/evil.example%2F", "/a@b", "/", "/a:1"] {
        assert!(matches!(decided(below(), target), Err(Refused::Client { .. })), "{target}");
    }
    for text in [
        "https://{1}",
        "https://{1}/",
        "https://shop.{cookie:a}",
        "//{path}",
        "{scheme}://{1}/",
        "https://a{header:x}/",
        "https://{path}",
    ] {
        assert!(template(text).check_redirect().is_err(), "{text}");
    }
    for text in [
        "https://{authority}/{1}",
        "{scheme}://{host}/",
        "//cdn.example/{1}",
        "/{1}",
        "{1}",
        "https://{1}.a/{2}",
    ] {
        assert_eq!(template(text).check_redirect(), Ok(()), "{text}");
    }
}

#[test]
fn templates_that_mean_nothing_are_refused() {
    for text in ["{", "}", "{1", "a}b", "{}", "{a-b}", "{C:}", "{map:a}"] {
        assert!(text.parse::<Template>().is_err(), "{text}");
    }
    assert_eq!(template("{{{1}}}").pieces.len(), 3);
    assert!(template("https://a/").check_rewrite().is_err() && template("/a#b").check_rewrite().is_err());
    let pattern: Pattern = "(a)".parse().unwrap();
    let maps = maps();
    let scope = Scope { pattern: &pattern, conditions: &[&pattern], maps: &maps, about: About::Requests };
    for (text, is_there) in [
        ("{1}", true),
        ("{2}", false),
        ("{x}", false),
        ("{C:1}", true),
        ("{C:2}", false),
        ("{map:old:1}", true),
        ("{map:new:1}", false),
        ("{map:old:2}", false),
        ("{status}", false),
        ("{map:old:answer:via}", false),
    ] {
        assert_eq!(template(text).check(scope).is_ok(), is_there, "{text}");
    }
    assert!("(?<path>a)".parse::<Pattern>().is_err() && "(".parse::<Pattern>().is_err());
}

#[test]
fn what_clients_say_stays_what_it_is() {
    becomes(vec![rewrite("^", "/{cookie:lang}")], "/", "/de%2F..%2Fx");
    becomes(vec![rewrite("^", "/{header:user-agent}?{cookie:lang}")], "/", "/test%20%5C%201?de/../x");
    assert!(matches!(decided(vec![rewrite("^x(.*)y$", "/a/{1}/b")], "/x..y"), Err(Refused::Client { .. })));
    assert!(matches!(decided(vec![rewrite("^x(.*)y$", "/%0{1}")], "/xay"), Err(Refused::Client { .. })));
}

#[test]
fn a_pattern_that_takes_others_for_ever_takes_no_time() {
    let began = std::time::Instant::now();
    let target = format!("/{}!", "a".repeat(20_000));
    becomes(vec![rewrite("^(a+)+$", "/x"), rewrite("^(a|aa)+$", "/y")], &target, "pass");
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

fn outbound(field: HeaderName, pattern: &str, value: &str) -> Outbound {
    Outbound {
        name: String::new(),
        statuses: Vec::new(),
        field,
        pattern: pattern.parse().unwrap(),
        conditions: Vec::new(),
        any: false,
        value: template(value),
        add: false,
        maps: std::sync::Arc::default(),
    }
}

/// Whether `rule` changes an answer with these fields, to a request of a client that accepts `a/b`.
fn amends(rule: &Outbound, status: StatusCode, fields: &mut HeaderMap) -> bool {
    let asked = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("a/b"))]);
    rule.amend(Subject::new("/", None, "GET", &asked), status, fields)
}

#[test]
fn fields_of_answers_are_changed_value_by_value() {
    let rule = outbound(header::SET_COOKIE, "^(a=.*)$", "{1}; Secure");
    let cookie = |text| (header::SET_COOKIE, HeaderValue::from_static(text));
    let mut fields = HeaderMap::from_iter([cookie("a=1"), cookie("b=2")]);
    assert!(amends(&rule, StatusCode::OK, &mut fields));
    assert_eq!(fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1; Secure", "b=2"]);
    // Of a rule's own field, conditions see the value that it is about.
    let differs = Condition { input: "answer:set-cookie".parse().unwrap(), test: differs("; Secure") };
    let others = Outbound { conditions: vec![differs], ..outbound(header::SET_COOKIE, ".+", "{0}; Secure") };
    assert!(amends(&others, StatusCode::OK, &mut fields));
    assert_eq!(fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1; Secure", "b=2; Secure"]);
    assert!(!amends(&others, StatusCode::OK, &mut fields));
    let gone = outbound(header::SET_COOKIE, "^a=", "");
    assert!(amends(&gone, StatusCode::OK, &mut fields));
    assert_eq!(fields.get_all("set-cookie").iter().collect::<Vec<_>>(), ["b=2; Secure"]);
}

fn differs(pattern: &str) -> Test {
    Test::Differs(pattern.parse().unwrap())
}

#[test]
fn rules_for_answers_have_conditions() {
    let rule = |statuses: &[&str], conditions| Outbound {
        statuses: statuses.iter().map(|text| text.parse().unwrap()).collect(),
        conditions,
        ..outbound(header::VIA, "^$", "{status} {C:1} {header:accept}")
    };
    let html = || HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    let said = |rule: &Outbound, status: u16| {
        let mut fields = html();
        let has = amends(
            &Outbound { add: true, ..rule.clone() },
            StatusCode::from_u16(status).unwrap(),
            &mut fields,
        );
        has.then(|| fields[header::VIA].to_str().unwrap().to_owned())
    };
    let of_html = || matches("answer:content-type", "^text/(.*)");
    assert_eq!(said(&rule(&["404", "5XX"], vec![of_html()]), 503).as_deref(), Some("503 html a/b"));
    assert_eq!(said(&rule(&["404", "5xx"], vec![of_html()]), 404).as_deref(), Some("404 html a/b"));
    for (statuses, condition, status) in [
        (&["404", "5xx"][..], of_html(), 403),
        (&[], matches("answer:content-type", "^image/(.*)"), 200),
        (&[], matches("answer:etag", "(.)"), 200),
        (&[], matches("status", "^3(..)"), 200),
        (&[], matches("header:referer", "(.)"), 200),
    ] {
        assert_eq!(said(&rule(statuses, vec![condition]), status), None);
    }
    let either = vec![matches("status", "^3(..)"), of_html()];
    assert_eq!(
        said(&Outbound { any: true, ..rule(&[], either.clone()) }, 200).as_deref(),
        Some("200 html a/b")
    );
    assert_eq!(said(&rule(&[], either), 200), None);
    // A field that is not there is not added unless that is wanted.
    assert!(!amends(&rule(&[], vec![of_html()]), StatusCode::OK, &mut html()));
    for text in ["", "x", "4x4", "xxx", "600", "099", "4040", "+40", "é4"] {
        assert!(text.parse::<Statuses>().is_err(), "{text}");
    }
    let names = [header::ACCEPT, header::REFERER];
    assert_eq!(rule(&[], vec![matches("lower:header:referer", ".")]).request_fields(), names);
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_not(text in "\\PC{0,40}") {
        let _ = text.parse::<Template>();
    }

    #[test]
    fn a_rewritten_path_stays_within_the_site(
        target in "/([a-z./?&=%@:\\\\-]|%2e|%2F|%0d|%0a|%5c|//|\\.\\.){0,24}",
        to in "(/|x|\\{1\\}|\\{2\\}|\\{path\\}|\\{query\\}|\\{cookie:lang\\}|\\{header:user-agent\\}|\\.|\\?a=|&b=){1,6}",
    ) {
        let to = template(&to);
        prop_assume!(to.check_rewrite().is_ok());
        let rules = vec![rule("^(.?)(.*)$", Action::Rewrite(to, Query::Keep))];
        if let Ok(rewritten) = decided(rules, &target) {
            let path = rewritten.split('?').next().unwrap();
            prop_assert!(path.starts_with('/') && !path.starts_with("//"), "{}", rewritten);
            prop_assert!(!crate::path::has_dots(path) && !crate::path::has_controls(path), "{}", rewritten);
            prop_assert!(rewritten.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{}", rewritten);
            prop_assert!(!path.contains('\\'), "{}", path);
            prop_assert!(rewritten.parse::<http::Uri>().unwrap().authority().is_none());
        }
    }

    #[test]
    fn a_redirect_goes_to_an_authority_that_is_configured_or_was_asked_for(
        target in "/([a-z./?&=%@:\\\\-]|%2e|%2F|%0d|%0a|%5c|//|evil){0,24}",
        to in "(https://a\\.example/|https://\\{host\\}/|https://\\{1\\}\\.a\\.example/|/|\\{1\\}|\\{2\\}|\\{path\\}|\\{authority\\})(/|x|\\{1\\}|\\{2\\}|\\{path\\}|\\{query\\}|\\{cookie:lang\\}){0,4}",
    ) {
        prop_assume!(!to.starts_with("//"));
        let to = template(&to);
        prop_assume!(to.check_redirect().is_ok());
        let rules = vec![rule("^(.?)(.*)$", Action::Redirect(StatusCode::FOUND, to, Query::Keep))];
        let Ok(redirected) = decided(rules, &target) else { return Ok(()) };
        let to = redirected.strip_prefix("302 ").unwrap();
        prop_assert!(to.bytes().all(|byte| byte.is_ascii_graphic()), "{}", to);
        prop_assert!(!to.split('?').next().unwrap().contains('\\'), "{}", to);
        if to.starts_with('/') {
            prop_assert!(!to.starts_with("//"), "{}", to);
        } else {
            let host = to.parse::<http::Uri>().unwrap().host().unwrap().to_owned();
            let known = host == "a.example" || host == "shop.example" || host.ends_with(".a.example")
                || host.starts_with("a.example") || host.starts_with("shop.example");
            prop_assert!(known, "{}", to);
        }
    }
}
