//! Faults and meaning of what stands between clients and an application.

use super::{faults::in_application, parse};
use crate::front::{
    Auth, Basic, Cors, Enforcement, Filter, Forward, Front, Key, Limit, Outward, Shared, Users,
};

/// What an application wants that has `written`.
fn front(written: &str) -> Front {
    let text = format!(
        "[[site]]\nname = 'shop'\nbindings = ['http://*:80']\n[[site.application]]\nlibrary = 'x'\n{written}\n"
    );
    parse(&text).unwrap().sites[0].applications[0].front.clone()
}

#[test]
fn a_preset_of_a_filter_is_added_to() {
    let filter = front("[site.application.filter]\npreset = 'IIS'").filter;
    assert_eq!(filter, Some(Filter::iis()));
    let written = "filter = { preset = 'iis', denied_extensions = ['.Bak'], denied_verbs = ['put'], double_escaping = true, \
                   max_url = 'none', max_query = '1kB', max_field = { Cookie = 9, a = 'none' }, log_only = true }";
    let mut expected = Filter::iis();
    expected.extensions.denied.push("bak".into());
    expected.verbs.denied.push("PUT".into());
    expected.double_escaping = true;
    (expected.max_url, expected.max_query) = (None, Some(1000));
    expected.max_field = vec![(http::header::COOKIE, 9)];
    expected.enforcement = Enforcement::Log;
    assert_eq!(front(written).filter, Some(expected));
}

#[test]
fn what_no_filter_could_find_is_refused() {
    for (written, refused) in [
        (
            "filter = { preset = 'ii' }",
            "6:21: site.shop.application./.filter.preset: must be \"iis\" (is \"ii\")",
        ),
        (
            "filter = { denied_verbs = ['a b'] }",
            "6:28: site.shop.application./.filter.denied_verbs: not a method: \"a b\"",
        ),
        (
            "filter = { denied_extensions = ['.tar.gz'] }",
            "6:33: site.shop.application./.filter.denied_extensions: must be what is behind the last dot of a name",
        ),
        (
            "filter = { hidden_segments = ['/bin'] }",
            "6:31: site.shop.application./.filter.hidden_segments: must be one",
        ),
        (
            "filter = { denied_sequences = [''] }",
            "6:32: site.shop.application./.filter.denied_sequences: would be in",
        ),
        (
            "filter = { max_field = { 'a b' = 1 } }",
            "6:26: site.shop.application./.filter.max_field.a b: not the name of a field: \"a b\"",
        ),
    ] {
        let told = in_application(written);
        assert!(told.starts_with(refused), "{told}");
    }
}

#[test]
fn a_limit_counts_requests_or_those_at_a_time() {
    let limits = front(
        "limit = [{ rate = '10/1m' }, { key = 'header:X-Key', rate = '5/s', burst = 9, concurrent = 2 }]",
    )
    .limits;
    let [first, second] = &limits[..] else { panic!("{limits:?}") };
    let told = |limit: &Limit| {
        let rate = limit.rate.unwrap();
        (
            rate.requests.get(),
            rate.per.as_secs(),
            rate.burst.get(),
            limit.concurrent.map(std::num::NonZeroUsize::get),
        )
    };
    assert_eq!((&first.key, told(first)), (&Key::Client, (10, 60, 10, None)));
    assert_eq!((&second.key, told(second)), (&Key::Field("x-key".parse().unwrap()), (5, 1, 9, Some(2))));
    for (written, refused) in [
        (
            "limit = [{ key = 'client' }]",
            "6:10: site.shop.application./.limit[1].rate: is missing; say how many",
        ),
        (
            "limit = { rate = '1/s' }",
            "6:9: site.shop.application./.limit: must be written [[site.application.limit]]",
        ),
        ("limit = [{ rate = '1' }]", "6:19: site.shop.application./.limit[1].rate: not a rate, as \"100/s\""),
        (
            "limit = [{ concurrent = 1, burst = 2 }]",
            "6:36: site.shop.application./.limit[1].burst: has no effect",
        ),
        (
            "limit = [{ concurrent = 1, key = 'cookie' }]",
            "6:34: site.shop.application./.limit[1].key: must be \"client\"",
        ),
    ] {
        let told = in_application(written);
        assert!(told.starts_with(refused), "{told}");
    }
}

#[test]
fn pages_of_other_origins_may_what_is_listed() {
    let cors =
        front("cors = { origins = ['https://A.example'], methods = 'any', max_age = '1m' }").cors.unwrap();
    let expected = Cors {
        origins: Shared::With(vec![http::HeaderValue::from_static("https://a.example")]),
        methods: Shared::WithAny,
        headers: Shared::With(vec![]),
        expose: Shared::With(vec![]),
        credentials: false,
        max_age: Some(std::time::Duration::from_secs(60)),
    };
    assert_eq!(cors, expected);
    for (written, refused) in [
        ("cors = { methods = ['GET'] }", "6:8: site.shop.application./.cors.origins: is missing"),
        (
            "cors = { origins = 'any', credentials = true }",
            "6:41: site.shop.application./.cors.credentials: would be for anybody, since origins is \"any\"; list those that may",
        ),
        (
            "cors = { origins = ['https://a/'] }",
            "6:21: site.shop.application./.cors.origins: not an origin, as \"https://shop.example\" is: \"https://a/\"; did you \
             mean \"https://a\"?",
        ),
        (
            "cors = { origins = ['*'] }",
            "6:21: site.shop.application./.cors.origins: must be written origins = \"any\"",
        ),
        ("cors = { origins = ['a.example'] }", "6:21: site.shop.application./.cors.origins: not an origin"),
        (
            "cors = { origins = 'all' }",
            "6:20: site.shop.application./.cors.origins: must be \"any\" or a list",
        ),
    ] {
        let told = in_application(written);
        assert!(told.starts_with(refused), "{told}");
    }
}

#[test]
fn who_may_come_in_is_in_a_file_a_table_or_known_to_a_server() {
    const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let auth =
        front("auth = { basic = { users = 'users' }, forward = { url = 'http://a/b', copy = ['X-User'] } }")
            .auth;
    let basic = Basic { users: Users::File("/etc/shop/users".into()), realm: "restricted".into() };
    let forward = Forward {
        url: "http://a/b".parse().unwrap(),
        outward: Outward::default(),
        terms: None,
        copy: vec!["x-user".parse().unwrap()],
        timeout: std::time::Duration::from_secs(5),
    };
    assert_eq!(auth, Some(Auth { basic: Some(basic), forward: Some(forward) }));
    let auth = front(&format!("auth = {{ basic = {{ users = {{ ana = '{HASH}' }} }} }}")).auth.unwrap();
    assert_eq!(auth.basic.unwrap().users, Users::These(vec![("ana".into(), HASH.parse().unwrap())]));
    for (written, refused) in [
        ("auth = {}", "6:8: site.shop.application./.auth.basic: is missing"),
        ("auth = { basic = {} }", "6:18: site.shop.application./.auth.basic.users: is missing"),
        (
            "auth = { basic = { users = { a = 'geheim' } } }",
            "6:34: site.shop.application./.auth.basic.users.a: is not a whole",
        ),
        (
            "auth = { basic = { users = { a = '{SHA}x' } } }",
            "6:34: site.shop.application./.auth.basic.users.a: is hashed too",
        ),
        ("auth = { forward = {} }", "6:20: site.shop.application./.auth.forward.url: is missing"),
        (
            "auth = { forward = { url = 'http://a/', tls = { ca = 'x' } } }",
            "6:47: site.shop.application./.auth.forward.tls: has no effect on an http:// url",
        ),
        (
            "auth = { forward = { url = 'https://a/', tls = { cert = 'x' } } }",
            "6:50: site.shop.application./.auth.forward.tls.cert: unknown key",
        ),
        ("auth = { forward = { url = '/a' } }", "6:28: site.shop.application./.auth.forward.url: not a URL"),
        (
            "auth = { forward = { url = 'http://a/', copy = ['Host'] } }",
            "6:49: site.shop.application./.auth.forward.copy: is the host's to say (is \"Host\")",
        ),
    ] {
        let told = in_application(written);
        assert!(told.starts_with(refused), "{told}");
        assert!(!told.contains("geheim"), "{told}");
    }
}
