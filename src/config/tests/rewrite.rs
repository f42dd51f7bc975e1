//! Rules for requests and answers, and what can be wrong with them.

use super::{faults::in_application, parse};
use crate::front::rewrite::{Action, Query, Then};

/// The only fault of a rule with these lines, which begin on line 7.
fn in_rule(lines: &str) -> String {
    in_application(&format!("[[site.application.rewrite]]\n{lines}"))
}

#[test]
fn faults_of_rules_are_told_where_they_stand() {
    assert_eq!(
        in_rule("match = '('\nstop = true"),
        "7:9: site.shop.application./.rewrite[1].match: unclosed group (is \"(\")"
    );
    for (lines, fault) in [
        (
            "match = '(?i)^/a/(.*)$'\nstop = true",
            "match: matches no path, for they are looked at without the slash that they begin with; write \"(?i)^a/(.*)$\" (is \"(?i)^/a/(.*)$\")",
        ),
        ("match = 'a'", "rewrite: does nothing; give it rewrite, redirect, respond, abort or stop"),
        ("rewrite = '/a'\nabort = true", "abort: a rule does one thing, and this one has rewrite already"),
        ("rewrite = '/a'\nstatus = 301", "status: has no effect without redirect"),
        ("rewrite = '/a'\nbody = 'x'", "body: has no effect without respond"),
        ("respond = 200\nquery = 'drop'", "query: has no effect without rewrite or redirect"),
        ("respond = 204\nbody = 'x'", "body: an answer of 204 has no body"),
        ("respond = 101", "respond: must be a status, from 200 to 599"),
        ("redirect = '/'\nstatus = 200", "status: must be one of 301, 302, 303, 307, 308"),
        ("respond = 200\nagain = true", "again: has no effect without rewrite"),
        ("rewrite = '/a'\nagain = true\nstop = true", "again: a rule cannot stop and begin again"),
        ("rewrite = '/{1}'", "rewrite: the pattern has no group 1"),
        ("rewrite = '/{C:1}'", "rewrite: no condition of the rule has a group 1"),
        ("rewrite = '/{map:a:path}'", "rewrite: there is no map \"a\""),
        ("rewrite = '/{'", "rewrite: a brace is alone; a brace that is meant is written twice (is \"/{\")"),
        (
            "rewrite = 'https://a/'",
            "rewrite: what is rewritten stays within the site; to send clients elsewhere, redirect them",
        ),
        (
            "redirect = 'https://{path}'",
            "redirect: would let clients say where others are sent; put a slash, or the dot of a domain, behind what comes from them",
        ),
        (
            "redirect = 'a/b'",
            "redirect: must begin with a slash, with https:// or http://, or with a reference",
        ),
        (
            "stop = true\nconditions = [{ input = 'path' }]",
            "conditions[1].matches: needs one of matches, differs, is and is_not",
        ),
        (
            "stop = true\nconditions = [{ is = 'file' }]",
            "conditions[1].root: is missing; say below which folder",
        ),
        (
            "stop = true\nconditions = [{ matches = 'a', root = '/' }]",
            "conditions[1].root: has no effect without is or is_not",
        ),
    ] {
        let told = in_rule(lines);
        assert!(told.ends_with(&format!("site.shop.application./.rewrite[1].{fault}")), "{lines}: {told}");
    }
}

#[test]
fn faults_of_outbound_rules_and_of_fields_are_told_where_they_stand() {
    for (lines, fault) in [
        ("value = '{2}'", "9:9: site.shop.application./.outbound[1].value: the pattern has no group 2"),
        (
            "value = ''\nstatus = [404, 'x']",
            "outbound[1].status: must be a status, as \"404\", or a class of them",
        ),
        (
            "value = ''\nadd = true",
            "outbound[1].add: has no effect with a pattern that the empty text does not",
        ),
        (
            "value = ''\nconditions = [{ input = 'C:1', matches = 'a' }]",
            "no condition of the rule has a group 1",
        ),
        (
            "value = ''\nconditions = [{ is = 'file', root = '/' }]",
            "files are looked for when a request comes",
        ),
    ] {
        let rule = format!("[[site.application.outbound]]\nfield = 'Location'\nmatch = '(a)'\n{lines}");
        let told = in_application(&rule);
        assert!(told.contains(fault), "{lines}: {told}");
    }
    assert!(
        in_application(
            "[[site.application.rewrite]]\nconditions = [{ input = 'status', matches = '4' }]\nstop = true"
        )
        .contains("there is no answer yet")
    );
    assert_eq!(
        in_application("[site.application.headers]\nset = { Content-Length = '1' }"),
        "7:9: site.shop.application./.headers.set.Content-Length: Content-Length says how an answer is sent, which is the \
         host's to say"
    );
    assert_eq!(
        in_application("[site.application.https]\nport = 8443"),
        "7:8: site.shop.application./.https.port: has no effect without redirect = true"
    );
    assert!(
        in_application("[site.application.https]\nhsts = '1d'\npreload = true")
            .contains("browsers take names only")
    );
}

#[test]
fn a_query_that_a_template_has_is_not_kept_twice() {
    let text = "site = [{ name = 'a', bindings = ['http://*'], application = [{ library = 'x' }], rewrite = [\
                { rewrite = '/a' }, { rewrite = '/b?{query}', stop = true }] }]";
    let rules = parse(text).unwrap().sites.remove(0).front.rewrite.unwrap().rules;
    assert!(matches!(rules[0].action, Action::Rewrite(_, Query::Keep)));
    assert!(matches!(rules[1].action, Action::Rewrite(_, Query::Drop)));
    assert_eq!((rules[0].then, rules[1].then), (Then::Next, Then::Stop));
    assert_eq!(rules[1].name, "rewrite[2]");
}
