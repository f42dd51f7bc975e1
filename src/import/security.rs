//! `<security>`: which requests and which clients may come in.

use super::{
    draft::{APPLICATION, Draft, list, quoted_key},
    xml::Element,
};

pub(super) fn security(element: &Element<'_>, draft: &mut Draft) {
    for inner in element.children() {
        match inner.name() {
            "requestFiltering" => request_filtering(&inner, draft),
            "ipSecurity" => ip_security(&inner, draft),
            "dynamicIpSecurity" => dynamic_ip_security(&inner, draft),
            "authentication" => authentication(&inner, draft),
            "authorization" => authorization(&inner, draft),
            "access" => draft.note(&inner, "TLS and certificates of clients stand in [site.tls]"),
            _ => draft.note(&inner, "has no counterpart"),
        }
    }
}

/// `<authentication>`: who asks for a password, and whether strangers get in.
fn authentication(element: &Element<'_>, draft: &mut Draft) {
    for way in element.children() {
        match way.name() {
            // What everybody gets who asks for nothing.
            "anonymousAuthentication" if way.is("enabled", true) => {}
            "anonymousAuthentication" => draft.note(&way, CLOSED),
            _ if !way.is("enabled", false) => {}
            "basicAuthentication" => draft.note(&way, ACCOUNTS),
            _ => draft.note(
                &way,
                "has to be done by the application, or by another server, as [site.auth.forward]",
            ),
        }
    }
    if !refuses_strangers(element) {
        return;
    }
    close(element, draft);
    let basic = element.child("basicAuthentication").filter(|way| way.is("enabled", false));
    if let Some(realm) = basic.map(|way| way.required("realm")).filter(|realm| !realm.is_empty()) {
        draft.put(BASIC, element, format!("realm = {}", super::draft::quoted(realm)));
    }
}

/// Whether `<authentication>` lets in only whom it knows.
pub(super) fn refuses_strangers(element: &Element<'_>) -> bool {
    element.child("anonymousAuthentication").is_some_and(|way| !way.is("enabled", true))
}

/// Nobody gets in until somebody says who.
fn close(element: &Element<'_>, draft: &mut Draft) {
    if !draft.has(BASIC, "users") {
        draft.put(BASIC, element, "users = {}".to_owned());
    }
}

const BASIC: &str = "[site.auth.basic]";

const ACCOUNTS: &str = "names and passwords are accounts of Windows, and not in this file. Write users = \"users\" in \
                        [site.auth.basic], and make the file with: htpasswd -B -c users NAME";

const CLOSED: &str = "who comes in has to be known, and this file does not say whom: nobody gets in until there are users in \
                      [site.auth.basic], or [site.auth.forward] in its place, or [site.auth] is taken out for an application \
                      that asks by itself";

/// The rules of `<authorization>`. Without them, all may come in.
pub(super) struct Authorization<'a> {
    rules: Vec<Element<'a>>,
    /// Whether the rule of the server goes, which lets everybody in.
    is_bare: bool,
}

impl<'a> Authorization<'a> {
    pub(super) fn of(element: &Element<'a>) -> Self {
        let all = element.children();
        let takes_out = |entry: &Element<'_>| match entry.name() {
            "clear" => true,
            "remove" => entry.required("users") == "*",
            _ => false,
        };
        let is_bare = all.iter().any(takes_out);
        Self { rules: all.into_iter().filter(|entry| entry.name() == "add").collect(), is_bare }
    }

    /// Whether somebody who is not known is refused. IIS asks those that deny first.
    pub(super) fn is_closed(&self) -> bool {
        let has = |access: &str, who: &[&str]| {
            self.rules.iter().any(|rule| {
                let mut users = rule.required("users").split(',').map(str::trim);
                rule.required("accessType") == access
                    && rule.required("verbs").is_empty()
                    && users.any(|user| who.contains(&user))
            })
        };
        has("Deny", &["?", "*"]) || (self.is_bare && !has("Allow", &["*"]))
    }
}

/// `<authorization>`: users, groups and methods.
fn authorization(element: &Element<'_>, draft: &mut Draft) {
    let all = Authorization::of(element);
    for rule in &all.rules {
        let (users, roles, verbs) = (rule.required("users"), rule.required("roles"), rule.required("verbs"));
        let is_denied = rule.required("accessType") == "Deny";
        if !verbs.is_empty() {
            let verbs: Vec<_> = verbs.split(',').map(str::trim).collect();
            let key = if is_denied { "denied_verbs" } else { "allowed_verbs" };
            let why = format!("methods are for all or for nobody: {key} = {} in [site.filter]", list(verbs));
            draft.note(rule, &why);
        } else if !roles.is_empty() {
            let why = format!(
                "{roles:?} are groups of accounts, which there are none of; who is in one gets a line in users of \
                 [site.auth.basic], or the application looks after it"
            );
            draft.note(rule, &why);
        } else if !matches!(users, "*" | "?" | "") && is_denied {
            draft
                .note(rule, &format!("{users:?} are kept out by not being among users in [site.auth.basic]"));
        } else if !matches!(users, "*" | "?" | "") {
            let lines = users.split(',').map(|user| format!("{} = \"HASH\"", quoted_key(user.trim())));
            let why = format!(
                "write users = {{ {} }} in [site.auth.basic], each with the hash that htpasswd -nB prints behind the name",
                lines.collect::<Vec<_>>().join(", ")
            );
            draft.note(rule, &why);
        }
    }
    if all.is_closed() {
        draft.note(element, CLOSED);
        close(element, draft);
    }
}

/// `<dynamicIpSecurity>`: how many requests each client may make.
fn dynamic_ip_security(element: &Element<'_>, draft: &mut Draft) {
    let mut is_on = false;
    for inner in element.children() {
        if !inner.is("enabled", false) {
            continue;
        }
        let number = |name: &str, default: &'static str| match inner.required(name) {
            "" => default.to_owned(),
            written => written.to_owned(),
        };
        let line = match inner.name() {
            // In quotes, so that what is no number is refused there and not everywhere.
            "denyByConcurrentRequests" => {
                format!("concurrent = {}", super::draft::quoted(&number("maxConcurrentRequests", "5")))
            }
            "denyByRequestRate" => {
                let (requests, time) =
                    (number("maxRequests", "20"), number("requestIntervalInMilliseconds", "200"));
                format!("rate = {}", super::draft::quoted(&format!("{requests}/{time}ms")))
            }
            _ => {
                draft.note(&inner, "has no counterpart");
                continue;
            }
        };
        is_on = true;
        let mut lines = vec![line];
        if element.is("enableLoggingOnlyMode", false) {
            lines.push("log_only = true".to_owned());
        }
        draft.put_whole("[[site.limit]]", &inner, inner.name(), lines);
    }
    if !is_on {
        return;
    }
    let denied = match element.required("denyAction") {
        "" => "Forbidden",
        action => action,
    };
    let why = format!("in place of {denied}, who makes more gets 429, and is told when to come again");
    draft.note_attribute(element, "denyAction", &why);
    if element.is("enableProxyMode", false) {
        draft.note_attribute(
            element,
            "enableProxyMode",
            "X-Forwarded-For is believed of proxies that are named: trusted_proxies = [\"10.0.0.0/8\"] in [server], with their \
             addresses",
        );
    }
}

const FILTER: &str = "[site.filter]";

/// `<requestFiltering>`; what it does without a word is the preset.
fn request_filtering(element: &Element<'_>, draft: &mut Draft) {
    draft.put(FILTER, element, "preset = \"iis\"".to_owned());
    if element.is("allowDoubleEscaping", false) {
        draft.put(FILTER, element, "double_escaping = true".to_owned());
    }
    for inner in element.children() {
        match inner.name() {
            "requestLimits" => limits(&inner, draft),
            "verbs" => allowed_or_denied(&inner, draft, "verb", "allowed_verbs", "denied_verbs"),
            "fileExtensions" => {
                allowed_or_denied(&inner, draft, "fileExtension", "allowed_extensions", "denied_extensions");
            }
            "hiddenSegments" => listed(&inner, draft, "segment", "hidden_segments"),
            "denyUrlSequences" => listed(&inner, draft, "sequence", "denied_sequences"),
            "denyQueryStringSequences" => listed(&inner, draft, "sequence", "denied_query_sequences"),
            "alwaysAllowedUrls" | "alwaysAllowedQueryStrings" => {
                draft.note(&inner, "there are no exceptions by path");
            }
            "filteringRules" => draft.note(&inner, "write each as a [[site.rewrite]] that responds with 404"),
            _ => draft.note(&inner, "has no counterpart"),
        }
    }
}

fn limits(element: &Element<'_>, draft: &mut Draft) {
    for attribute in element.attributes() {
        let value = element.required(attribute);
        // In quotes, so that what is no number is refused there and not everywhere.
        let value = super::draft::quoted(value);
        match attribute {
            "maxAllowedContentLength" => draft.put_for_code(element, format!("max_request_body = {value}")),
            "maxUrl" => draft.put(FILTER, element, format!("max_url = {value}")),
            "maxQueryString" => draft.put(FILTER, element, format!("max_query = {value}")),
            _ => draft.note_attribute(element, attribute, "has no counterpart"),
        }
    }
    for field in element.children().iter().flat_map(Element::children) {
        let (name, size) = (field.required("header"), super::draft::quoted(field.required("sizeLimit")));
        draft.put("[site.filter.max_field]", &field, format!("{} = {size}", quoted_key(name)));
    }
}

/// Elements that say what is let through, or what is not.
fn allowed_or_denied(element: &Element<'_>, draft: &mut Draft, attribute: &str, allowed: &str, denied: &str) {
    let entries = element.children();
    let names = |wanted: bool| {
        let entries =
            entries.iter().filter(move |entry| entry.name() == "add" && entry.is("allowed", true) == wanted);
        entries.map(|entry| entry.required(attribute)).collect::<Vec<_>>()
    };
    // Where those that are not listed may come in, the ones that may are no list of all.
    if !element.is("allowUnlisted", true) {
        let mut listed = names(true);
        if listed.is_empty() {
            // An empty list would be of all.
            draft.note(element, "lets nothing in; so does a name that nothing has");
            listed.push("nobody");
        }
        draft.put(FILTER, element, format!("{allowed} = {}", list(listed)));
    }
    if !names(false).is_empty() {
        draft.put(FILTER, element, format!("{denied} = {}", list(names(false))));
    }
    removed(&entries, draft);
}

fn listed(element: &Element<'_>, draft: &mut Draft, attribute: &str, key: &str) {
    let entries = element.children();
    let names: Vec<_> =
        entries.iter().filter(|entry| entry.name() == "add").map(|entry| entry.required(attribute)).collect();
    if !names.is_empty() {
        draft.put(FILTER, element, format!("{key} = {}", list(names)));
    }
    removed(&entries, draft);
}

fn removed(entries: &[Element<'_>], draft: &mut Draft) {
    for entry in entries.iter().filter(|entry| entry.name() != "add") {
        draft.note(
            entry,
            "what the preset has is not taken out one by one; write [site.filter] without preset",
        );
    }
}

/// `<ipSecurity>`: networks as addresses and masks.
fn ip_security(element: &Element<'_>, draft: &mut Draft) {
    let allow_unlisted = element.is("allowUnlisted", true);
    if element.is("enableProxyMode", false) {
        let why =
            "whom a proxy speaks for is believed of those in trusted_proxies of [server], and for everything";
        draft.note_attribute(element, "enableProxyMode", why);
    }
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for entry in element.children() {
        let (address, mask) =
            (entry.required("ipAddress"), entry.attribute("subnetMask").unwrap_or_default());
        if entry.name() != "add" || address.is_empty() {
            draft.note(&entry, "networks are written as addresses; there are no names of domains");
            continue;
        }
        let Some(network) = network(address, mask.trim()) else {
            draft.note(&entry, "is no address with a mask");
            continue;
        };
        // Not allowed is what an entry is that does not say so.
        match entry.is("allowed", false) {
            true if allow_unlisted => draft.note(&entry, "lets in who may come in anyway"),
            true => allow.push(network),
            false => deny.push(network),
        }
    }
    if allow_unlisted && deny.is_empty() {
        return;
    }
    if !allow_unlisted {
        if allow.is_empty() {
            draft.note(element, "lets nobody in; so does a network that nobody has");
            allow.push("192.0.2.0/32".to_owned());
        }
        draft.put("[site.ip]", element, format!("allow = {}", list(allow.iter().map(String::as_str))));
    }
    if !deny.is_empty() {
        draft.put("[site.ip]", element, format!("deny = {}", list(deny.iter().map(String::as_str))));
    }
}

/// `10.0.0.0` and `255.0.0.0`, or `8`, as `10.0.0.0/8`.
fn network(address: &str, mask: &str) -> Option<String> {
    let address: std::net::IpAddr = address.parse().ok()?;
    let network = match (mask.parse::<std::net::IpAddr>(), mask.trim_start_matches('/').parse::<u8>()) {
        (Ok(mask), _) => ipnet::IpNet::with_netmask(address, mask).ok()?,
        (_, Ok(bits)) => ipnet::IpNet::new(address, bits).ok()?,
        _ if mask.is_empty() => ipnet::IpNet::from(address),
        _ => return None,
    };
    Some(network.trunc().to_string())
}

impl Draft {
    /// A key that an application has only if it runs.
    fn put_for_code(&mut self, element: &Element<'_>, line: String) {
        match self.has_code() {
            true => self.put(APPLICATION, element, line),
            false => self.note(element, "is about bodies of requests, which nobody reads who only has files"),
        }
    }
}
