//! The file as XML: small, without document types, and with line numbers.

use roxmltree::{Document, Node, ParsingOptions};

/// Why nothing could be made of a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Larger than any that somebody wrote.
    #[error("is larger than {MOST_BYTES} bytes")]
    TooLarge,
    /// Neither UTF-8 nor UTF-16.
    #[error("is neither UTF-8 nor UTF-16")]
    NoText,
    /// No XML, or one with a document type.
    #[error("is not the XML of a web.config")]
    NoXml(#[from] roxmltree::Error),
    /// Another kind of file.
    #[error("begins with <{0}>; a web.config begins with <configuration>")]
    Other(String),
}

/// The text of a file; Windows writes some in UTF-16.
///
/// # Errors
/// It is too large, or no text.
pub fn text(bytes: &[u8]) -> Result<String, Unreadable> {
    if bytes.len() > MOST_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let units =
        |of: fn([u8; 2]) -> u16| bytes[2..].chunks_exact(2).map(|pair| of([pair[0], pair[1]])).collect();
    let wide: Option<Vec<u16>> = match bytes {
        [0xff, 0xfe, ..] => Some(units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some(units(u16::from_be_bytes)),
        _ => None,
    };
    let text = match wide {
        Some(units) => String::from_utf16(&units).map_err(|_| Unreadable::NoText),
        None => String::from_utf8(bytes.to_vec()).map_err(|_| Unreadable::NoText),
    };
    text.map(|text| text.trim_start_matches('\u{feff}').to_owned())
}

/// Reads XML. Entities other than the five of XML itself are refused, with the document types that declare them.
pub(super) fn parse(text: &str) -> Result<Document<'_>, Unreadable> {
    if text.len() > MOST_BYTES {
        return Err(Unreadable::TooLarge);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    Ok(Document::parse_with_options(text, options)?)
}

/// A document whose lines have numbers.
pub(super) struct Source<'a> {
    document: &'a Document<'a>,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(document: &'a Document<'a>) -> Self {
        let ends = document.input_text().match_indices('\n').map(|(at, _)| at + 1);
        Self { document, lines: std::iter::once(0).chain(ends).collect() }
    }

    pub(super) fn root(&'a self) -> Element<'a> {
        Element { source: self, node: self.document.root_element() }
    }
}

/// An element.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    source: &'a Source<'a>,
    node: Node<'a, 'a>,
}

impl<'a> Element<'a> {
    /// Without its namespace.
    pub(super) fn name(&self) -> &'a str {
        self.node.tag_name().name()
    }

    pub(super) fn line(&self) -> usize {
        self.source.lines.partition_point(|start| *start <= self.node.range().start)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.node.attribute(name)
    }

    /// An attribute that must be there to mean anything.
    pub(super) fn required(&self, name: &str) -> &'a str {
        self.attribute(name).unwrap_or_default().trim()
    }

    /// Whether an attribute is true; `default` if it is not there.
    pub(super) fn is(&self, name: &str, default: bool) -> bool {
        self.attribute(name).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Names of attributes, without those of other namespaces, which are for tools that change the file.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &'a str> {
        self.node
            .attributes()
            .filter(|attribute| attribute.namespace().is_none())
            .map(|attribute| attribute.name())
    }

    pub(super) fn children(&self) -> Vec<Element<'a>> {
        let source = self.source;
        self.node.children().filter(Node::is_element).map(|node| Element { source, node }).collect()
    }

    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<Element<'a>> {
        self.children().into_iter().find(|child| child.name() == name)
    }
}

/// Far beyond any that IIS would read, whose own limit is 250 kB.
const MOST_BYTES: usize = 1 << 20;

const MOST_NODES: u32 = 50_000;
