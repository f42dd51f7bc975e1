//! What a client sees of a failure.

use http::{HeaderValue, Response, StatusCode, header};

use super::answer::{Form, Wants};
use crate::{
    Body, Failure,
    failure::{Code, told},
};

/// How failures are shown.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// Who reads it.
    pub audience: Audience,
    /// Whether there is a body at all.
    pub shown: bool,
    /// Whether it tells what happened, and what the application printed: for development only, since it shows paths.
    pub detailed: bool,
    /// Where an operator sends people; HTML pages link to it.
    pub link: Option<String>,
}

/// Who reads of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Whoever sent the request.
    #[default]
    Client,
    /// The host that sent it on, which makes the page and writes the log: it gets the code and the detail, no body.
    Host,
}

impl Default for ErrorPage {
    fn default() -> Self {
        Self { audience: Audience::Client, shown: true, detailed: false, link: None }
    }
}

impl ErrorPage {
    pub(super) fn response(&self, failure: &Failure, wants: Wants) -> Response<Body> {
        let mut response = Response::new(self.body(failure, wants));
        *response.status_mut() = match wants.form {
            // It is the call that failed; the exchange went well (the gRPC protocol's "Trailers-Only").
            Form::Grpc if self.audience == Audience::Client => StatusCode::OK,
            _ => failure.code.status(),
        };
        let headers = response.headers_mut();
        if (self.shown || wants.form == Form::Grpc) && self.audience == Audience::Client {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(wants.form.content_type()));
        }
        if wants.form == Form::Grpc && self.audience == Audience::Client {
            headers.insert("grpc-status", grpc_status(failure.code).into());
            headers.insert("grpc-message", HeaderValue::from_static(failure.code.title()));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(&told::CODE, HeaderValue::from_static(failure.code.as_str()));
        if self.audience == Audience::Host {
            told::write_detail(headers, failure);
        }
        if failure.code.may_retry() {
            // Rounded up: a client that comes early is refused again.
            let after = failure.retry_after.map_or(1, |after| after.as_secs_f64().ceil() as u64).max(1);
            headers.insert(header::RETRY_AFTER, after.into());
        }
        failure.amendments.apply(headers);
        response
    }

    fn body(&self, failure: &Failure, wants: Wants) -> Body {
        match wants.form {
            _ if !self.shown || self.audience == Audience::Host => Body::empty(),
            Form::Html => self.html(failure, wants).into(),
            Form::Problem => self.problem(failure, wants).into(),
            Form::Grpc => Body::empty(),
        }
    }

    /// What the application printed last, where that is to be shown.
    fn output<'a>(&self, failure: &'a Failure) -> Option<&'a str> {
        failure.output.as_deref().filter(|output| self.detailed && !output.is_empty())
    }

    /// RFC 9457.
    fn problem(&self, failure: &Failure, wants: Wants) -> String {
        let mut problem = serde_json::json!({
            "type": format!("urn:cohost:failure:{}", failure.code),
            "title": failure.code.title(),
            "status": failure.code.status().as_u16(),
            "code": failure.code.as_str(),
        });
        if let Some(id) = wants.request_id {
            problem["request_id"] = id.to_string().into();
        }
        if self.detailed && !failure.detail.is_empty() {
            problem["detail"] = failure.detail.as_str().into();
        }
        if let Some(output) = self.output(failure) {
            problem["output"] = output.into();
        }
        problem.to_string()
    }

    fn html(&self, failure: &Failure, wants: Wants) -> String {
        let status = failure.code.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let title = failure.code.title();
        let mut more = String::new();
        if self.detailed && !failure.detail.is_empty() {
            more += &format!("<p>{}</p>\n", escape(&failure.detail));
        }
        if let Some(output) = self.output(failure) {
            more += &format!("<h2>What the application printed last</h2>\n<pre>{}</pre>\n", escape(output));
        }
        if let Some(link) = &self.link {
            more += &format!("<p><a href=\"{}\">More about this</a></p>\n", escape(link));
        }
        let id =
            wants.request_id.map(|id| format!(" &middot; request <code>{id}</code>")).unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{code} {reason}</title>\n\
             <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:4rem auto;padding:0 1rem}}\
             pre{{overflow:auto;background:#8881;padding:1rem}}small{{color:#777}}</style>\n\
             <h1>{code} {reason}</h1>\n<p>{title}</p>\n{more}\
             <p><small><code>{failure}</code>{id}</small></p>\n</html>\n",
            code = status.as_u16(),
            failure = failure.code,
        )
    }
}

impl Form {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Problem => "application/problem+json",
            Self::Grpc => "application/grpc",
        }
    }
}

/// The status of gRPC that says the same, as gateways commonly have it; a deadline has one of its own.
fn grpc_status(code: Code) -> u16 {
    match code.status() {
        StatusCode::GATEWAY_TIMEOUT => 4,
        StatusCode::FORBIDDEN => 7,
        StatusCode::PAYLOAD_TOO_LARGE => 8,
        StatusCode::NOT_FOUND => 12,
        // To be tried again; at a limit, too.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        // Internal: no client can do better next time.
        _ => 13,
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn wants(form: Form) -> Wants {
        Wants { form, request_id: None }
    }

    #[test]
    fn details_are_shown_only_when_asked_for_and_cannot_inject() {
        let failure = Failure::new(Code::StartFailed).detail("<script>/srv/secret");
        let plain = ErrorPage::default();
        assert!(!plain.html(&failure, wants(Form::Html)).contains("secret"));
        assert!(!plain.problem(&failure, wants(Form::Problem)).contains("secret"));
        let detailed = ErrorPage { detailed: true, ..plain };
        let html = detailed.html(&failure, wants(Form::Html));
        assert!(html.contains("&lt;script&gt;/srv/secret"));
        assert!(detailed.problem(&failure, wants(Form::Problem)).contains("secret"));
    }

    #[test]
    fn a_refusal_that_passes_says_when_to_come_back() {
        let after = std::time::Duration::from_millis(1200);
        let failure = Failure::new(Code::FailFast).retry_after(after);
        let response = ErrorPage::default().response(&failure, wants(Form::Problem));
        assert_eq!(response.headers()["retry-after"], "2");
        let response = ErrorPage::default().response(&Code::RequestTimeout.into(), wants(Form::Problem));
        assert!(!response.headers().contains_key("retry-after"));
    }

    #[test]
    fn a_page_that_is_not_shown_is_only_a_status() {
        let page = ErrorPage { shown: false, ..ErrorPage::default() };
        let response = page.response(&Code::FailFast.into(), wants(Form::Html));
        assert!(http_body::Body::is_end_stream(response.body()));
        assert!(!response.headers().contains_key("content-type"));
    }

    #[test]
    fn a_call_of_grpc_gets_a_status_of_grpc() {
        for (code, status) in [
            (Code::RequestTimeout, "4"),
            (Code::BodyTooLarge, "8"),
            (Code::NoApplication, "12"),
            (Code::ApplicationPanicked, "13"),
            (Code::FailFast, "14"),
            (Code::InstanceLost, "14"),
            (Code::RateLimited, "14"),
            (Code::AddressDenied, "7"),
            (Code::NotAuthenticated, "16"),
        ] {
            let response = ErrorPage::default().response(&code.into(), wants(Form::Grpc));
            assert_eq!(
                (response.status(), &response.headers()["grpc-status"]),
                (StatusCode::OK, &status.parse().expect("text"))
            );
            assert_eq!(response.headers()["content-type"], "application/grpc");
            assert!(http_body::Body::is_end_stream(response.body()));
        }
        // A host reads the code, and makes the page.
        let page = ErrorPage { audience: Audience::Host, ..ErrorPage::default() };
        let response = page.response(&Code::RequestTimeout.into(), wants(Form::Grpc));
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert!(!response.headers().contains_key("grpc-status"));
    }
}
