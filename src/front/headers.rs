//! Fields that answers have, or have not, whoever made them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// What is changed in the fields of every answer, pages of failures included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// These are taken out first.
    pub remove: Vec<HeaderName>,
    /// These are put in, in place of all that there are of the same name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These are put in beside those that there are.
    pub append: Vec<(HeaderName, HeaderValue)>,
    /// Whether answers that do not say so themselves say that browsers shall be careful: [`CAREFUL`].
    pub security: bool,
}

/// Fields that make browsers careful, and that break no site which knows what it sends.
pub const CAREFUL: [(HeaderName, &str); 4] = [
    // What is no script is not run as one.
    (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Other sites hear where a visitor comes from, and no more of it than that.
    (http::header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    // Other sites cannot lay the page below their own and have it clicked.
    (http::header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    // Nor may documents of plug-ins read it.
    (HeaderName::from_static("x-permitted-cross-domain-policies"), "none"),
];

impl Headers {
    /// Does that to the fields of an answer.
    pub fn amend(&self, fields: &mut HeaderMap) {
        for name in &self.remove {
            fields.remove(name);
        }
        for (name, value) in &self.set {
            fields.insert(name, value.clone());
        }
        for (name, value) in &self.append {
            fields.append(name, value.clone());
        }
        // Last, and only what is missing: an application that knows better says so.
        for (name, value) in CAREFUL.iter().filter(|_| self.security) {
            if !fields.contains_key(name) {
                fields.insert(name, HeaderValue::from_static(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amended(headers: &Headers, before: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut fields: HeaderMap = before.iter().map(field).collect();
        headers.amend(&mut fields);
        fields
    }

    #[test]
    fn what_is_removed_may_be_set_again_and_appended_to() {
        let value = HeaderValue::from_static;
        let headers = Headers {
            remove: vec![HeaderName::from_static("server"), HeaderName::from_static("x-a")],
            set: vec![(HeaderName::from_static("x-a"), value("1"))],
            append: vec![(HeaderName::from_static("x-a"), value("2"))],
            security: false,
        };
        let fields = amended(&headers, &[("server", "x"), ("x-a", "0")]);
        assert_eq!(fields.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn an_application_that_knows_better_keeps_its_own_word() {
        let headers = Headers { security: true, ..Headers::default() };
        let fields = amended(&headers, &[("x-frame-options", "DENY")]);
        assert_eq!(fields["x-frame-options"], "DENY");
        assert_eq!(fields["x-content-type-options"], "nosniff");
        assert_eq!(fields.len(), CAREFUL.len());
    }
}
