//! Which requests are let through, by what is written in them.
//!
//! Never: looks at a body, or changes a request.

use http::{HeaderMap, HeaderName, Method, Uri};

use super::{
    Enforcement,
    spelling::{Folded, Spellings, fold, is_escaped_twice, unescaped},
};
use crate::{Failure, failure::Code};

/// What requests may have in them, and what not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// Methods, whatever their case.
    pub verbs: Listed,
    /// What is behind the last dot of a path's last segment, without the dot; empty text for paths that have none.
    pub extensions: Listed,
    /// Names that no segment of a path may have.
    pub hidden_segments: Vec<Folded>,
    /// What no path may contain.
    pub denied_sequences: Vec<Folded>,
    /// What no query may contain.
    pub denied_query_sequences: Vec<Folded>,
    /// Whether escapes may be escaped, as `%252e` is.
    pub double_escaping: bool,
    /// Bytes of a path, as it was sent.
    pub max_url: Option<u64>,
    /// Bytes of a query, as it was sent.
    pub max_query: Option<u64>,
    /// Bytes of the values of a field, all lines of it together.
    pub max_field: Vec<(HeaderName, u64)>,
    /// Whether the others are refused.
    pub enforcement: Enforcement,
}

/// What may be, and what may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// What may. Empty: all.
    pub allowed: Vec<Folded>,
    /// What may not, also if it is among the allowed.
    pub denied: Vec<Folded>,
}

impl Listed {
    fn admits(&self, folded: &str) -> bool {
        !has(&self.denied, folded) && (self.allowed.is_empty() || has(&self.allowed, folded))
    }
}

impl Default for Filter {
    /// Lengths and escapes alone.
    fn default() -> Self {
        Self {
            verbs: Listed::default(),
            extensions: Listed::default(),
            hidden_segments: Vec::new(),
            denied_sequences: Vec::new(),
            denied_query_sequences: Vec::new(),
            double_escaping: false,
            max_url: Some(4096),
            max_query: Some(2048),
            max_field: Vec::new(),
            enforcement: Enforcement::Refuse,
        }
    }
}

impl Filter {
    /// What request filtering of IIS refuses where nothing else is configured.
    #[must_use]
    pub fn iis() -> Self {
        let folded = |texts: &[&str]| texts.iter().copied().map(Folded::from).collect();
        Self {
            extensions: Listed { allowed: Vec::new(), denied: folded(&IIS_EXTENSIONS) },
            hidden_segments: folded(&IIS_SEGMENTS),
            ..Self::default()
        }
    }

    /// Whether a request is let through; `sent` is its target as the client wrote it.
    ///
    /// # Errors
    /// The rule that it breaks, the first one in this order.
    pub fn judge(&self, method: &Method, uri: &Uri, sent: &str, fields: &HeaderMap) -> Result<(), Failure> {
        self.judge_verb(method)?;
        let (sent, _) = sent.split_once('?').unwrap_or((sent, ""));
        self.judge_lengths(sent, uri.query().unwrap_or_default())?;
        self.judge_path(uri.path(), sent)?;
        self.judge_query(uri.query().unwrap_or_default())?;
        self.judge_fields(fields)
    }

    fn judge_verb(&self, method: &Method) -> Result<(), Failure> {
        refuse_if(!self.verbs.admits(&fold(method.as_str())), Code::FilterVerb, || method.to_string())
    }

    fn judge_lengths(&self, path: &str, query: &str) -> Result<(), Failure> {
        let over = |text: &str, most: Option<u64>| most.is_some_and(|most| text.len() as u64 > most);
        let told = |text: &str| format!("{} bytes", text.len());
        refuse_if(over(path, self.max_url), Code::FilterUrl, || told(path))?;
        refuse_if(over(query, self.max_query), Code::FilterQuery, || told(query))
    }

    fn judge_path(&self, path: &str, sent: &str) -> Result<(), Failure> {
        let twice = !self.double_escaping && (is_escaped_twice(path) || is_escaped_twice(sent));
        refuse_if(twice, Code::FilterDoubleEscaping, || sent.to_owned())?;
        if !self.looks_at_paths() {
            return Ok(());
        }
        let spellings = Spellings::of(path, sent);
        let all = || spellings.plain.iter().chain(&spellings.other).map(String::as_str);
        refuse_found(&self.denied_sequences, &all(), Code::FilterSequence)?;
        for spelling in &spellings.plain {
            let hidden = spelling.split('/').find(|segment| has(&self.hidden_segments, segment));
            refuse_if(hidden.is_some(), Code::FilterSegment, || hidden.unwrap_or_default().to_owned())?;
            let extension = extension(spelling);
            let denied = !self.extensions.admits(extension);
            refuse_if(denied, Code::FilterExtension, || format!(".{extension}"))?;
        }
        Ok(())
    }

    fn looks_at_paths(&self) -> bool {
        let Self { extensions, hidden_segments, denied_sequences, .. } = self;
        *extensions != Listed::default() || !hidden_segments.is_empty() || !denied_sequences.is_empty()
    }

    fn judge_query(&self, query: &str) -> Result<(), Failure> {
        if query.is_empty() || self.denied_query_sequences.is_empty() {
            return Ok(());
        }
        // Forms write a space as a plus.
        let spellings = [fold(query), fold(&unescaped(query)), fold(&unescaped(&query.replace('+', " ")))];
        let spellings = spellings.iter().map(String::as_str);
        refuse_found(&self.denied_query_sequences, &spellings, Code::FilterQuerySequence)
    }

    fn judge_fields(&self, fields: &HeaderMap) -> Result<(), Failure> {
        for (name, most) in &self.max_field {
            let bytes: usize = fields.get_all(name).iter().map(http::HeaderValue::len).sum();
            refuse_if(bytes as u64 > *most, Code::FilterField, || format!("{bytes} bytes of {name}"))?;
        }
        Ok(())
    }
}

fn refuse_if(denied: bool, code: Code, detail: impl FnOnce() -> String) -> Result<(), Failure> {
    if denied { Err(Failure::new(code).detail(detail())) } else { Ok(()) }
}

/// Refuses what has one of `sequences` in any of its spellings.
fn refuse_found<'a>(
    sequences: &[Folded],
    spellings: &(impl Iterator<Item = &'a str> + Clone),
    code: Code,
) -> Result<(), Failure> {
    let is_in = |sequence: &&Folded| spellings.clone().any(|spelling| spelling.contains(sequence.as_str()));
    match sequences.iter().find(is_in) {
        Some(sequence) => Err(Failure::new(code).detail(sequence.as_str())),
        None => Ok(()),
    }
}

fn has(list: &[Folded], folded: &str) -> bool {
    list.iter().any(|one| one.as_str() == folded)
}

/// What is behind the last dot of the last segment that is not empty.
fn extension(spelling: &str) -> &str {
    let last = spelling.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
    last.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Folders and files of an application that are not for clients.
const IIS_SEGMENTS: [&str; 8] = [
    "web.config",
    "bin",
    "App_code",
    "App_GlobalResources",
    "App_LocalResources",
    "App_WebReferences",
    "App_Data",
    "App_Browsers",
];

/// Sources, configuration and databases.
const IIS_EXTENSIONS: [&str; 43] = [
    "asax",
    "ascx",
    "master",
    "skin",
    "browser",
    "sitemap",
    "config",
    "cs",
    "csproj",
    "vb",
    "vbproj",
    "webinfo",
    "licx",
    "resx",
    "resources",
    "mdb",
    "vjsproj",
    "java",
    "jsl",
    "ldb",
    "dsdgm",
    "ssdgm",
    "lsad",
    "ssmap",
    "cd",
    "dsprototype",
    "lsaprototype",
    "sdm",
    "sdmDocument",
    "mdf",
    "ldf",
    "ad",
    "dd",
    "ldd",
    "sd",
    "adprototype",
    "lddprototype",
    "exclude",
    "refresh",
    "compiled",
    "msgx",
    "vsdisco",
    "rules",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(filter: &Filter, method: &str, target: &str) -> &'static str {
        let (method, uri) = (method.parse().unwrap(), target.parse().unwrap());
        let judged = filter.judge(&method, &uri, target, &HeaderMap::new());
        judged.map_or_else(|failure| failure.code.as_str(), |()| "passes")
    }

    fn folded(texts: &[&str]) -> Vec<Folded> {
        texts.iter().copied().map(Folded::from).collect()
    }

    #[test]
    fn a_path_is_denied_in_every_spelling() {
        let filter =
            Filter { denied_sequences: folded(&["/Admin"]), double_escaping: true, ..Filter::default() };
        for path in [
            "/%61dmin",
            "//admin",
            "/ADMIN",
            "/admin%2f",
            "/admin;x",
            "/x%2f..%2fadmin",
            "/a/%5cadmin",
            "/%2561dmin",
        ] {
            assert_eq!(judged(&filter, "GET", path), "filter_sequence", "{path}");
        }
        assert_eq!(judged(&filter, "GET", "/a-dmin/adm;in"), "passes");
    }

    #[test]
    fn what_iis_hides_is_hidden() {
        let filter = Filter::iis();
        for (target, judgement) in [
            ("/web.config", "filter_segment"),
            ("/a/WEB.config/x", "filter_segment"),
            ("/bin/app.dll", "filter_segment"),
            ("/a%2fbin%2fapp", "filter_segment"),
            ("/bin;x/app", "filter_segment"),
            ("/App_Data./db", "filter_segment"),
            ("/Controllers/Home.CS", "filter_extension"),
            ("/other.config/", "filter_extension"),
            ("/other.config;.html", "filter_extension"),
            ("/other;.config", "filter_extension"),
            ("/%252e%252e/x", "filter_double_escaping"),
            ("/binary/combination.csv", "passes"),
            ("/", "passes"),
            ("/a.html?file=web.config", "passes"),
        ] {
            assert_eq!(judged(&filter, "GET", target), judgement, "{target}");
        }
    }

    #[test]
    fn lengths_are_those_of_what_was_sent() {
        let filter = Filter { max_url: Some(4), max_query: Some(3), ..Filter::default() };
        assert_eq!(judged(&filter, "GET", "/abc?123"), "passes");
        assert_eq!(judged(&filter, "GET", "/abcd"), "filter_url");
        assert_eq!(judged(&filter, "GET", "/abc?1234"), "filter_query");
        let none = Filter { max_url: None, max_query: None, ..filter };
        assert_eq!(judged(&none, "GET", &format!("/{0}?{0}", "x".repeat(9000))), "passes");
        let sent = Filter::default().judge(
            &Method::GET,
            &"/".parse().unwrap(),
            &"/../".repeat(2000),
            &HeaderMap::new(),
        );
        assert_eq!(sent.unwrap_err().code, Code::FilterUrl);
    }

    #[test]
    fn verbs_and_extensions_may_be_listed() {
        let verbs = Listed { allowed: folded(&["GET", "post"]), denied: folded(&["POST"]) };
        let extensions = Listed { allowed: folded(&["", "html"]), denied: vec![] };
        let filter = Filter { verbs, extensions, ..Filter::default() };
        assert_eq!(judged(&filter, "GET", "/a.html"), "passes");
        assert_eq!(judged(&filter, "GET", "/a/"), "passes");
        assert_eq!(judged(&filter, "GET", "/a.php"), "filter_extension");
        for verb in ["POST", "Post", "DELETE"] {
            assert_eq!(judged(&filter, verb, "/"), "filter_verb", "{verb}");
        }
    }

    #[test]
    fn queries_are_compared_without_their_escapes() {
        let filter =
            Filter { denied_query_sequences: folded(&["drop table", "<script"]), ..Filter::default() };
        for query in ["q=DROP+TABLE", "q=drop%20table", "q=drop%2520table", "q=%3CScript"] {
            assert_eq!(judged(&filter, "GET", &format!("/?{query}")), "filter_query_sequence", "{query}");
        }
        assert_eq!(judged(&filter, "GET", "/drop%20table?q=droptable"), "passes");
    }

    #[test]
    fn a_field_counts_with_all_its_lines() {
        let filter = Filter { max_field: vec![(http::header::COOKIE, 8)], ..Filter::default() };
        let mut fields = HeaderMap::new();
        let mut judge = |value| {
            fields.append(http::header::COOKIE, http::HeaderValue::from_static(value));
            filter.judge(&Method::GET, &Uri::default(), "/", &fields).map_err(|failure| failure.code)
        };
        assert_eq!(judge("a=123456"), Ok(()));
        assert_eq!(judge("b"), Err(Code::FilterField));
    }
}
