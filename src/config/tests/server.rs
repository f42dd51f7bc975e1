//! Faults of `[server]`.

use super::faults::before_the_site;

#[test]
fn trust_is_not_guessed() {
    assert_eq!(
        before_the_site("server.trusted_fields = 'forwarded'"),
        "1:25: server.trusted_fields: has no effect without trusted_proxies; say there which proxies write these \
         fields"
    );
    let fault = |network: &str| before_the_site(&format!("server.trusted_proxies = ['{network}']"));
    let key = "1:27: server.trusted_proxies";
    assert_eq!(fault("proxy"), format!("{key}: not a network, as \"10.0.0.0/8\" is: \"proxy\""));
    assert_eq!(
        fault("10.0.0.1/8"),
        format!(
            "{key}: has address bits behind its prefix (is \"10.0.0.1/8\"); did you mean \"10.0.0.0/8\"?"
        )
    );
}

#[test]
fn only_proxies_that_are_named_connect_with_the_proxy_protocol() {
    let site = |name: &str, proxied: bool| {
        format!(
            "[[site]]\nname = '{name}'\nproxy_protocol = {proxied}\nbindings = ['http://{name}.example:80']\n\
             [[site.application]]\nlibrary = 'x'\n"
        )
    };
    let faults = |text: &str| super::parse(text).unwrap_err().to_string();
    assert!(faults(&site("a", true)).contains("server.trusted_proxies: is missing; site \"a\""));
    let trusted = "[server]\ntrusted_proxies = ['10.0.0.0/8']\n";
    assert!(super::parse(&format!("{trusted}{}{}", site("a", true), site("b", true))).is_ok());
    let mixed = faults(&format!("{trusted}{}{}", site("a", true), site("b", false)));
    assert!(
        mixed.contains("site.b.proxy_protocol: http://b.example:80 is bound by another site, too"),
        "{mixed}"
    );
}

#[test]
fn a_page_links_to_nothing_that_a_browser_would_run() {
    for link in ["javascript:alert(1)", "help.example", "https://help.example/ now"] {
        assert_eq!(
            before_the_site(&format!("server.error_link = '{link}'")),
            format!(
                "1:21: server.error_link: must begin with https://, http://, mailto: or / and have no spaces (is {link:?})"
            )
        );
    }
}
