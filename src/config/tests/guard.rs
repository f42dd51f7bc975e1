//! Faults and meaning of what stands between clients and an application.

use super::{faults::in_application, parse};
use crate::front::{Enforcement, Filter, Front};

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
