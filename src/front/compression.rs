//! Which answers are compressed, and how.

use std::str::FromStr;

/// Answers that are compressed on their way to clients that can read it, and bodies of requests that are unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// What is used, the best first. Empty: answers stay as they are.
    pub algorithms: Vec<Algorithm>,
    /// Of which kinds answers have to be.
    pub types: Vec<MediaTypes>,
    /// How many bytes an answer must have at least, where it says so.
    pub min_size: u64,
    /// How much work goes into it.
    pub level: Level,
    /// Whether bodies of requests are unpacked.
    pub decompress: bool,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            algorithms: Algorithm::ALL.to_vec(),
            types: TYPES.iter().map(|pattern| pattern.parse().expect("ours are patterns")).collect(),
            min_size: 1000,
            level: Level::Balanced,
            decompress: false,
        }
    }
}

impl Compression {
    /// What a client wants its answer in, by its `Accept-Encoding` fields; `None` for as it is.
    ///
    /// What it refuses by `q=0` is never it. Of what it likes as much as another, the first in our order is it.
    pub fn choose<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>) -> Option<Algorithm> {
        accepted(fields, &self.algorithms)[0]
    }

    /// Whether an answer of this `Content-Type` is one of those.
    #[must_use]
    pub fn concerns(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        // Its messages are compressed by themselves, or not, as both ends agree.
        let is_grpc = essence.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC));
        !is_grpc && self.types.iter().any(|types| types.contain(essence))
    }
}

/// What can be put into `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Algorithm {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As in `Content-Encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The one of that name, in upper or lower case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        // RFC 9110 has an old name for it that means the same.
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.as_str().as_bytes()))
    }
}

/// How much work goes into an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// As little as possible.
    Fast,
    /// What is worth it.
    #[default]
    Balanced,
    /// More, for the last few percent.
    Best,
}

/// A media type, or many: `text/html`, `text/*`, `application/*+json`, `*/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTypes {
    /// `None`: any.
    kind: Option<String>,
    /// The text before and after the star; `None` without a star.
    before: String,
    after: Option<String>,
}

/// A text that is no pattern of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a media type, as \"text/html\" is, or a pattern, as \"text/*\" and \"application/*+json\" are"
)]
pub struct NoMediaTypes;

impl FromStr for MediaTypes {
    type Err = NoMediaTypes;

    fn from_str(text: &str) -> Result<Self, NoMediaTypes> {
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/').ok_or(NoMediaTypes)?;
        let (before, after) = match subtype.split_once('*') {
            Some((before, after)) => (before, Some(after)),
            None => (subtype, None),
        };
        let plain = |part: &str| part.bytes().all(is_token);
        let kind = match kind {
            "*" if subtype == "*" => None,
            kind if !kind.is_empty() && plain(kind) => Some(kind.to_owned()),
            _ => return Err(NoMediaTypes),
        };
        if subtype.is_empty() || !plain(before) || !after.is_none_or(plain) {
            return Err(NoMediaTypes);
        }
        Ok(Self { kind, before: before.to_owned(), after: after.map(str::to_owned) })
    }
}

impl MediaTypes {
    fn contain(&self, essence: &str) -> bool {
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        let subtype = subtype.as_bytes();
        let (before, after) = (self.before.as_bytes(), self.after.as_deref().map(str::as_bytes));
        let fits = match after {
            None => subtype.eq_ignore_ascii_case(before),
            Some(after) => {
                subtype.len() >= before.len() + after.len()
                    && subtype[..before.len()].eq_ignore_ascii_case(before)
                    && subtype[subtype.len() - after.len()..].eq_ignore_ascii_case(after)
            }
        };
        fits && self.kind.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(kind))
    }
}

/// Those of `algorithms` that a client wants an answer in rather than as it is, by its `Accept-Encoding` fields: what it
/// likes best first, and of what it likes as much as another, the one that stands first here.
pub(crate) fn accepted<'a>(
    fields: impl IntoIterator<Item = &'a [u8]>,
    algorithms: &[Algorithm],
) -> [Option<Algorithm>; Algorithm::ALL.len()] {
    let read = Accepted::read(fields);
    let least = read.identity.unwrap_or_default().max(1);
    let mut best = [None; Algorithm::ALL.len()];
    let mut end = 0;
    for algorithm in algorithms.iter().filter(|algorithm| read.of(**algorithm) >= least) {
        let is_liked_less =
            |other: &Option<Algorithm>| other.is_none_or(|other| read.of(other) < read.of(*algorithm));
        if end < best.len() && !best.contains(&Some(*algorithm)) {
            let place = best.iter().position(is_liked_less).unwrap_or(end);
            best[place..=end].rotate_right(1);
            best[place] = Some(*algorithm);
            end += 1;
        }
    }
    best
}

/// What a client accepts, in thousandths. `None` is what it does not mention.
#[derive(Default)]
struct Accepted {
    named: [Option<u16>; Algorithm::ALL.len()],
    identity: Option<u16>,
    others: Option<u16>,
}

impl Accepted {
    /// In one pass, without a copy: fields can be long. What is no coding with a weight is left out.
    fn read<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut accepted = Self::default();
        for coding in fields.into_iter().flat_map(|field| field.split(|byte| *byte == b',')) {
            let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
            match name {
                b"*" => accepted.others = Some(weight),
                name if name.eq_ignore_ascii_case(b"identity") => accepted.identity = Some(weight),
                name => {
                    if let Some(algorithm) = Algorithm::named(name) {
                        accepted.named[algorithm as usize] = Some(weight);
                    }
                }
            }
        }
        accepted
    }

    fn of(&self, algorithm: Algorithm) -> u16 {
        self.named[algorithm as usize].or(self.others).unwrap_or_default()
    }
}

/// `q=0.5` as 500: at most three digits behind the point.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = digits.get(place).unwrap_or(&b'0');
        thousandths = thousandths * 10 + u16::from(digit.checked_sub(b'0').filter(|digit| *digit <= 9)?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// What a media type may be written with.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte)
}

const GRPC: &str = "application/grpc";

/// What gets smaller, and is worth it. Pictures, films and archives are compressed already.
const TYPES: [&str; 13] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/x-ndjson",
    "application/javascript",
    "application/xml",
    "application/*+xml",
    "application/wasm",
    "application/graphql",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(field: &str) -> Option<&'static str> {
        Compression::default().choose([field.as_bytes()]).map(Algorithm::as_str)
    }

    #[test]
    fn a_client_gets_the_best_of_what_it_accepts() {
        for (field, algorithm) in [
            ("", None),
            ("gzip", Some("gzip")),
            ("X-GZIP", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("gzip, br", Some("br")),
            ("gzip;q=1.0, br;q=0.9, zstd ; q=0.8", Some("gzip")),
            ("*", Some("zstd")),
            ("zstd;q=0, *", Some("br")),
            ("deflate, compress", None),
        ] {
            assert_eq!(chosen(field), algorithm, "{field}");
        }
    }

    #[test]
    fn what_a_client_accepts_comes_in_the_order_in_which_it_likes_it() {
        let all = |field: &str| {
            let ours = [Algorithm::Brotli, Algorithm::Zstd, Algorithm::Gzip];
            let accepted = accepted([field.as_bytes()], &ours);
            accepted.into_iter().flatten().map(Algorithm::as_str).collect::<Vec<_>>()
        };
        assert_eq!(all("gzip, deflate, br"), ["br", "gzip"]);
        assert_eq!(all("br;q=0.5, gzip;q=0.9, zstd;q=0.7"), ["gzip", "zstd", "br"]);
        assert_eq!(all("br;q=0.1, identity;q=0.5, x-gzip"), ["gzip"]);
        assert_eq!(all("*;q=0.1, br;q=0"), ["zstd", "gzip"]);
        for none in ["", "identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", "br;q = 0"] {
            assert_eq!(all(none), Vec::<&str>::new(), "{none}");
        }
        assert_eq!(all(&"x,".repeat(5000)), Vec::<&str>::new());
    }

    #[test]
    fn what_a_client_refuses_it_never_gets() {
        for field in
            ["gzip;q=0", "*;q=0", "gzip;q=0.000, br;q=0, zstd;Q=0", "identity", "gzip;q=0.5, identity;q=0.6"]
        {
            assert_eq!(chosen(field), None, "{field}");
        }
        assert_eq!(chosen("gzip;q=1.5, br;q=x, zstd;q=0.1234"), None, "weights that are none");
        assert_eq!(chosen("gzip;q=0.5, identity;q=0.5"), Some("gzip"));
    }

    #[test]
    fn ten_thousand_bytes_of_codings_are_read_once() {
        let mut field = "x;q=0.1,".repeat(1250);
        field.push_str("br;q=0.001");
        assert_eq!(chosen(&field), Some("br"));
    }

    #[test]
    fn a_pattern_names_one_type_or_many() {
        let compression = Compression::default();
        for content_type in
            ["text/html; charset=utf-8", "TEXT/event-stream", "application/problem+json", "image/svg+xml"]
        {
            assert!(compression.concerns(content_type), "{content_type}");
        }
        for content_type in
            ["image/png", "application/octet-stream", "application/zip", "text", "", "application/+jso"]
        {
            assert!(!compression.concerns(content_type), "{content_type}");
        }
        for no_pattern in ["", "text", "text/", "/x", "*/x", "*", "a/b*c*d", "a b/c", "text/html; x=y"] {
            assert_eq!(no_pattern.parse::<MediaTypes>(), Err(NoMediaTypes), "{no_pattern}");
        }
    }

    #[test]
    fn grpc_is_none_of_any_types() {
        let all = Compression { types: vec!["*/*".parse().unwrap()], ..Compression::default() };
        assert!(all.concerns("image/png"));
        assert!(!all.concerns("application/grpc") && !all.concerns("Application/gRPC-web+proto"));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader_and_none_bring_what_is_refused(garbage in "[ -~]{0,40}") {
            let field = format!("{garbage},zstd;q=0,br;q=0,gzip;q=0");
            prop_assert_eq!(chosen(&field), None);
        }

        #[test]
        fn any_text_is_a_pattern_or_none_and_a_type_fits_itself(pattern in "[a-z+*./ -]{0,12}", essence in "[ -~]{0,20}") {
            if let Ok(types) = pattern.parse::<MediaTypes>() {
                prop_assert!(pattern.contains('*') || types.contain(&pattern), "{pattern}");
                prop_assert!(!types.contain(&essence) || essence.contains('/'), "{pattern} {essence}");
            }
        }
    }
}
