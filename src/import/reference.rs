//! `{R:1}`, `{HTTP_HOST}` and their like, as references of our own rules.

/// What is used in rules of IIS that we have not; it is named to the operator.
pub(super) type Unknown = String;

/// `text`, which is put together of references and what stands between them, as a template.
pub(super) fn template(text: &str) -> Result<String, Unknown> {
    let mut template = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        template.push_str(&rest[..at].replace('}', "}}"));
        let end =
            closing(&rest[at..]).ok_or_else(|| format!("{text:?} has a brace without its other half"))?;
        let inner = &rest[at + 1..at + end];
        // Twice the same query would come of it otherwise.
        match inner {
            "REQUEST_URI" | "UNENCODED_URL" => template.push_str("{path}"),
            _ => template.push_str(&format!("{{{}}}", reference(inner)?)),
        }
        rest = &rest[at + end + 1..];
    }
    Ok(template + &rest.replace('}', "}}"))
}

/// The input of a condition, which is one reference and nothing else.
pub(super) fn input(text: &str) -> Result<String, Unknown> {
    let text = text.trim();
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) if closing(text) == Some(text.len() - 1) => match inner {
            "REQUEST_URI" | "UNENCODED_URL" => Ok("path".to_owned()),
            _ => reference(inner),
        },
        _ => Err(format!("a condition looks at one thing, and {text:?} is several")),
    }
}

/// Where the brace closes with which `text` begins.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        // Nobody nests them deeper, and nothing of ours does.
        if depth > DEEPEST {
            return None;
        }
    }
    None
}

/// What stands between braces.
fn reference(inner: &str) -> Result<String, Unknown> {
    if let Some((name, rest)) = inner.split_once(':') {
        return function(name, rest);
    }
    let known = match inner.to_ascii_uppercase().as_str() {
        "HTTP_HOST" => "authority",
        "SERVER_NAME" => "host",
        "QUERY_STRING" => "query",
        "URL" | "PATH_INFO" | "SCRIPT_NAME" => "path",
        "REQUEST_METHOD" => "method",
        "REMOTE_ADDR" | "REMOTE_HOST" => "client",
        "CONTENT_TYPE" => "header:content-type",
        "CONTENT_LENGTH" => "header:content-length",
        "RESPONSE_STATUS" => "status",
        name => {
            let field = |start: &str| name.strip_prefix(start).filter(|field| !field.is_empty());
            let (kind, field) = match (field("HTTP_"), field("RESPONSE_")) {
                (Some(field), _) => ("header", field),
                (_, Some(field)) => ("answer", field),
                _ => return Err(format!("{{{inner}}} has no counterpart")),
            };
            return Ok(format!("{kind}:{}", field.replace('_', "-").to_ascii_lowercase()));
        }
    };
    Ok(known.to_owned())
}

/// A group, a function, or a map.
fn function(name: &str, rest: &str) -> Result<String, Unknown> {
    match name {
        "R" if rest.parse::<u8>().is_ok() => Ok(rest.to_owned()),
        "C" if rest.parse::<u8>().is_ok() => Ok(format!("C:{rest}")),
        "ToLower" => Ok(format!("lower:{}", argument(rest)?)),
        // Escaping is done wherever something is put in.
        "UrlEncode" => argument(rest),
        "UrlDecode" => Err("{UrlDecode} has no counterpart".to_owned()),
        map => Ok(format!("map:{map}:{}", argument(rest)?)),
    }
}

fn argument(text: &str) -> Result<String, Unknown> {
    input(text).map_err(|_| format!("{text:?} is not one reference"))
}

const DEEPEST: usize = 4;
