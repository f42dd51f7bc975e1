//! Why a request could not be answered by its application.
//!
//! A stage that says no returns a [`Failure`]; `http` makes the one response of it. Codes are stable: they stand in
//! logs, metrics, responses, and one by one in `docs/failures.md`.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Why a request could not be answered.
#[derive(Debug)]
pub struct Failure {
    /// The stable code.
    pub code: Code,
    /// What happened, for the operator: names the file, the limit, the application. Empty when the code says it all.
    pub detail: String,
    /// When to try again, for answers that carry `Retry-After`.
    pub retry_after: Option<Duration>,
    /// What the application last printed, for the error page in detailed mode.
    pub output: Option<std::sync::Arc<str>>,
    /// What led to it.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// What is to be changed in the head of its page.
    pub amendments: Amendments,
}

/// Changes to the fields of a page that is made later, in the order in which they were asked for.
// Few failures have any, and all are handed from stage to stage.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a failure is to be small")]
pub struct Amendments(Option<Box<Vec<Box<Amendment>>>>);

type Amendment = dyn Fn(&mut HeaderMap) + Send + Sync;

impl Amendments {
    /// Makes them.
    pub fn apply(&self, fields: &mut HeaderMap) {
        self.0.iter().flat_map(|all| all.iter()).for_each(|amend| amend(fields));
    }
}

// What they do is code.
impl fmt::Debug for Amendments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Amendments").field(&self.0.as_ref().map_or(0, |all| all.len())).finish()
    }
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client's request.
    Client,
    /// The application, or how it is configured.
    Application,
    /// The host, or its load.
    Host,
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $status:ident, $blame:ident, $title:literal;)+) => {
        /// The stable codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])+ $name,)+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As written in logs, metrics and responses.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The status a client gets.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            /// Who has to act.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame),+ }
            }

            /// One sentence for the page, telling a client nothing of the inside.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// The request violates HTTP in a way that the parser lets pass, or its body broke off.
    BadRequest = "bad_request", BAD_REQUEST, Client, "The request is malformed.";
    /// There are more header fields than `max_header_fields`.
    TooManyFields = "too_many_fields", REQUEST_HEADER_FIELDS_TOO_LARGE, Client, "The request has too many header fields.";
    /// The body is larger than `max_request_body`.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Client, "The request body is too large.";
    /// The body is encoded in a way that the host cannot decode.
    UnknownEncoding = "unknown_encoding", UNSUPPORTED_MEDIA_TYPE, Client, "The request body has an encoding that is not supported.";
    /// The client sent its body too slowly.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, Client, "The request body did not arrive in time.";
    /// No site has this authority.
    UnknownAuthority = "unknown_authority", MISDIRECTED_REQUEST, Client, "This host serves no site of that name.";
    /// No site has this authority, and the configuration wants 404 for that.
    UnknownSite = "unknown_site", NOT_FOUND, Client, "There is no such site.";
    /// The site has no application at this path.
    NoApplication = "no_application", NOT_FOUND, Client, "There is no application at this path.";
    /// The connection was made on other terms than those of the site that the request is for.
    Misdirected = "misdirected", MISDIRECTED_REQUEST, Client, "This connection was made for another site.";
    /// The site wants a certificate of its clients, and this one came without TLS.
    CertificateRequired = "certificate_required", FORBIDDEN, Client, "A client certificate is required.";
    /// The client's address is not among those that may come in.
    AddressDenied = "address_denied", FORBIDDEN, Client, "Access from this address is not allowed.";
    /// Those who are counted with this client have made too many requests of late.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, Client, "Too many requests.";
    /// Those who are counted with this client make too many requests at a time.
    TooManyAtOnce = "too_many_at_once", TOO_MANY_REQUESTS, Client, "Too many requests at a time.";
    /// The method is not among those that are let through.
    FilterVerb = "filter_verb", NOT_FOUND, Client, "This request is not let through.";
    /// What the path ends in is not let through.
    FilterExtension = "filter_extension", NOT_FOUND, Client, "This request is not let through.";
    /// A segment of the path has a name that is hidden.
    FilterSegment = "filter_segment", NOT_FOUND, Client, "This request is not let through.";
    /// The path contains what no path may.
    FilterSequence = "filter_sequence", NOT_FOUND, Client, "This request is not let through.";
    /// The query contains what no query may.
    FilterQuerySequence = "filter_query_sequence", NOT_FOUND, Client, "This request is not let through.";
    /// The path has escapes that are escaped themselves.
    FilterDoubleEscaping = "filter_double_escaping", NOT_FOUND, Client, "This request is not let through.";
    /// The path is longer than it may be.
    FilterUrl = "filter_url", URI_TOO_LONG, Client, "The path is too long.";
    /// The query is longer than it may be.
    FilterQuery = "filter_query", URI_TOO_LONG, Client, "The query is too long.";
    /// A field is longer than it may be.
    FilterField = "filter_field", REQUEST_HEADER_FIELDS_TOO_LARGE, Client, "A field of the request is too long.";
    /// A rewrite rule says that such requests get no answer.
    Aborted = "aborted", FORBIDDEN, Client, "This request is not answered.";
    /// The rewrite rules go round in a circle, or make no path that there could be.
    RewriteFailed = "rewrite_failed", INTERNAL_SERVER_ERROR, Host, "The request could not be sent on its way.";
    /// The client has not said who it is, or not so that it may come in.
    NotAuthenticated = "not_authenticated", UNAUTHORIZED, Client, "A name and a password are needed.";
    /// Nobody can say whether the client may come in.
    AuthUnavailable = "auth_unavailable", SERVICE_UNAVAILABLE, Host, "Nobody can be let in at the moment.";
    /// Where files are served, there is none at this path.
    NoFile = "no_file", NOT_FOUND, Client, "There is no such file.";
    /// The host may not read the file.
    FileDenied = "file_denied", FORBIDDEN, Application, "This file may not be read.";
    /// The file, or the folder that it is in, cannot be opened at the moment.
    FileUnavailable = "file_unavailable", SERVICE_UNAVAILABLE, Host, "This file is not available.";

    /// The library or command does not exist, or may not be read.
    FileMissing = "file_missing", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// The file is not an ELF shared library.
    NotALibrary = "not_a_library", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// The file is cut short.
    LibraryTruncated = "library_truncated", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Built for another machine or word size.
    WrongArchitecture = "wrong_architecture", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// A shared library, or a symbol, that it needs is not there.
    DependencyMissing = "dependency_missing", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// It does not export the entry symbol.
    EntryMissing = "entry_missing", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Built for another version of the ABI.
    AbiMismatch = "abi_mismatch", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// It wants more static thread-local storage than is left (an allocator linked in, usually).
    StaticTls = "static_tls", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// The system's loader refused it for another reason.
    LoadFailed = "load_failed", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Its constructor returned an error.
    StartFailed = "start_failed", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Its constructor panicked.
    StartPanicked = "start_panicked", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// It was not ready within `startup_timeout`.
    StartTimeout = "start_timeout", SERVICE_UNAVAILABLE, Application, "The application is still starting.";
    /// One of its paths in `warmup` was not answered well.
    WarmupFailed = "warmup_failed", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// The process ended before it was ready.
    InstanceExited = "instance_exited", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// The process could not be started at all.
    SpawnFailed = "spawn_failed", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Somebody else listens on the instance's port.
    PortTaken = "port_taken", SERVICE_UNAVAILABLE, Application, "The application could not be started.";
    /// Too many generations of this library are mapped; the program has to be restarted.
    TooManyGenerations = "too_many_generations", SERVICE_UNAVAILABLE, Host, "The application could not be started.";
    /// It failed too often; it is left alone until the window has passed.
    FailFast = "fail_fast", SERVICE_UNAVAILABLE, Application, "The application has failed too often and is paused.";
    /// The operator has taken it offline.
    Offline = "offline", SERVICE_UNAVAILABLE, Host, "The application is offline for a while.";

    /// Workers ended too soon or too often; until the next try none holds applications in process.
    WorkerCrashed = "worker_crashed", SERVICE_UNAVAILABLE, Application, "The application is not available.";

    /// Too many requests wait for the application.
    QueueFull = "queue_full", SERVICE_UNAVAILABLE, Host, "The application is overloaded.";
    /// The application is being stopped, and there is no next generation.
    Draining = "draining", SERVICE_UNAVAILABLE, Host, "The application is being stopped.";
    /// The application said that it cannot serve this now.
    ApplicationUnavailable = "application_unavailable", SERVICE_UNAVAILABLE, Application, "The application is not available.";
    /// The application panicked.
    ApplicationPanicked = "application_panicked", INTERNAL_SERVER_ERROR, Application, "The application failed.";
    /// The application returned an error instead of a response.
    ApplicationFailed = "application_failed", INTERNAL_SERVER_ERROR, Application, "The application failed.";
    /// The application said it was done, or let go of the request, without a response.
    NoResponse = "no_response", INTERNAL_SERVER_ERROR, Application, "The application failed.";
    /// The application's response is not HTTP (status, field name, field value).
    InvalidResponse = "invalid_response", INTERNAL_SERVER_ERROR, Application, "The application failed.";
    /// No answer within `request_timeout`.
    RequestTimeout = "request_timeout", GATEWAY_TIMEOUT, Application, "The application did not answer in time.";

    /// All upstreams are down, or left alone because they failed.
    NoUpstream = "no_upstream", SERVICE_UNAVAILABLE, Application, "The application is not available.";
    /// The instance cannot be reached.
    ConnectFailed = "connect_failed", BAD_GATEWAY, Application, "The application cannot be reached.";
    /// The upstream has not shown that it is the one that is meant, or refuses the host.
    TlsFailed = "tls_failed", BAD_GATEWAY, Application, "The application cannot be reached.";
    /// The instance ended, or closed the connection, before it answered.
    InstanceLost = "instance_lost", BAD_GATEWAY, Application, "The application ended before it answered.";
    /// What the instance sent is not HTTP.
    BadGateway = "bad_gateway", BAD_GATEWAY, Application, "The application sent an answer that is not HTTP.";
    /// The instance did not begin to answer within `first_byte_timeout`.
    FirstByteTimeout = "first_byte_timeout", GATEWAY_TIMEOUT, Application, "The application did not answer in time.";
}

impl Code {
    /// Whether the answer carries `Retry-After`.
    #[must_use]
    pub fn may_retry(self) -> bool {
        matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

/// A text that is no failure's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such failure code; docs/failures.md lists them")]
pub struct UnknownCode;

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    /// A failure that its code describes fully.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            detail: String::new(),
            retry_after: None,
            output: None,
            source: None,
            amendments: Amendments::default(),
        }
    }

    /// Says what happened, for the operator.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says what led to it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Has the fields of its page changed, when there is one, after all that was asked for before.
    #[must_use]
    pub fn amended(mut self, amend: impl Fn(&mut HeaderMap) + Send + Sync + 'static) -> Self {
        self.amendments.0.get_or_insert_default().push(Box::new(amend));
        self
    }

    /// Gives its page this field, beside others of the name.
    #[must_use]
    pub fn field(self, name: HeaderName, value: HeaderValue) -> Self {
        self.amended(move |fields| {
            fields.append(&name, value.clone());
        })
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A failure on its way from a runner to its host, in the head of an otherwise empty response.
pub(crate) mod told {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use percent_encoding::{CONTROLS, utf8_percent_encode};

    use super::Failure;

    /// The field with the code; clients see it, too.
    pub(crate) static CODE: HeaderName = HeaderName::from_static("cohost-failure");
    /// The field with the detail; only hosts see it.
    const DETAIL: &str = "cohost-failure-detail";

    /// Adds the detail for the host.
    pub(crate) fn write_detail(fields: &mut HeaderMap, failure: &Failure) {
        if let Ok(detail) = HeaderValue::try_from(utf8_percent_encode(&failure.detail, CONTROLS).to_string())
        {
            fields.insert(DETAIL, detail);
        }
    }

    /// The failure that a runner's response tells.
    #[cfg(feature = "out-of-process")]
    pub(crate) fn read(fields: &HeaderMap) -> Option<Failure> {
        let code = fields.get(&CODE)?.to_str().ok()?.parse().ok()?;
        let detail = fields
            .get(DETAIL)
            .map(|detail| percent_encoding::percent_decode(detail.as_bytes()).decode_utf8_lossy());
        let after = fields.get(http::header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        let failure = Failure::new(code).detail(detail.unwrap_or_default());
        Some(Failure { retry_after: after.map(std::time::Duration::from_secs), ..failure })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::{Blame, Code};

    const PAGE: &str = include_str!("../docs/failures.md");

    /// What stands below each heading, by heading.
    fn sections() -> Vec<(&'static str, &'static str)> {
        let sections = PAGE.split("\n## ").skip(1);
        sections.map(|section| section.split_once('\n').expect("a heading is a line")).collect()
    }

    #[test]
    fn every_code_is_explained_once_with_its_status_and_who_has_to_act() {
        let sections: HashMap<_, _> = sections().into_iter().collect();
        for code in Code::ALL {
            let text =
                sections.get(&*format!("`{code}`")).unwrap_or_else(|| panic!("`{code}` is not explained"));
            let who = match code.blame() {
                Blame::Client => "client",
                Blame::Application => "application",
                Blame::Host => "host",
            };
            let line = format!("{} · {who}", code.status());
            assert_eq!(text.trim_start().lines().next(), Some(line.as_str()), "first line of `{code}`");
            assert!(text.contains("\n**What to do.** "), "`{code}` leaves the reader alone");
        }
    }

    #[test]
    fn every_heading_is_a_code() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| format!("`{code}`")).collect();
        assert_eq!(codes.len(), Code::ALL.len(), "two codes have one name");
        for (heading, _) in sections() {
            assert!(codes.contains(heading), "{heading} is no code");
        }
        assert_eq!(sections().len(), codes.len(), "a code is explained twice");
    }
}
