//! Fields of answers: put in, taken out, and those that make browsers careful; on pages of the host as well.

use crate::{
    both_models,
    host::{Model, Setup},
};

both_models! {
    async fn answers_have_the_fields_that_are_set_and_none_that_are_removed(model: Model) {
        let site = "[site.headers]\nset = { X-From = 'site', Content-Type = 'text/plain' }\nremove = ['X-Gone']";
        let own = "[site.application.headers]\nset = { X-From = 'application', X-Gone = '1' }\n\
                   append = { X-Two = ['a', 'b'] }";
        let host = Setup::sample(model).site(site).more(own).start().await;
        let answer = host.client().get("/info").await;
        assert_eq!((answer.header("x-from"), answer.header("content-type")), ("site", "text/plain"));
        assert!(!answer.headers.contains_key("x-gone"));
        assert_eq!(answer.headers.get_all("x-two").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(answer.json()["pid"].is_number());
    }

    async fn pages_of_failures_have_them_too(model: Model) {
        let site = "[site.headers]\nsecurity = true\nremove = ['cohost-failure']\nset = { Cache-Control = 'private' }\n\
                    [site.ip]\nallow = ['192.0.2.0/24']";
        let host = Setup::sample(model).site(site).start().await;
        let answer = host.client().get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (403, "private"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN");
        assert!(!answer.headers.contains_key("cohost-failure"));
    }
}
