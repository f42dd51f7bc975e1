//! Variables in values: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar.
//!
//! A dollar before anything else stays as it is, so that patterns and prices need no escape. Where the variables come
//! from is the caller's affair: the library reads no environment.

use super::fault::Refusal;

/// Puts the variables into `text`. What a variable contains is not expanded again.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Refusal> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some((variable, after)) = after.split_once('}') else {
                return Err(Refusal::new(format!(
                    "has \"${{\" without \"}}\" (is {text:?}); a dollar that is meant as one is written \"$$\""
                )));
            };
            out.push_str(&value_of(variable, env)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The value of `NAME` or `NAME:-default`. As in a shell, the default is for empty variables too.
fn value_of(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Refusal> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(Refusal::new(format!(
            "{name:?} is not the name of a variable: letters, digits and _, a digit not first"
        )));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Refusal::new(format!(
            "the variable {name} is not set; set it, or write ${{{name}:-default}}"
        ))),
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let env = |name: &str| match name {
            "HOME" => Some("/home/shop".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOME}".to_owned()),
            _ => None,
        };
        expand(text, &env).map_err(|refusal| refusal.message)
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        assert_eq!(expanded("${HOME}/lib:${HOME}").as_deref(), Ok("/home/shop/lib:/home/shop"));
    }

    #[test]
    fn a_default_is_for_unset_and_empty_variables() {
        assert_eq!(expanded("${PORT:-8080}${EMPTY:-x}${HOME:-y}").as_deref(), Ok("8080x/home/shop"));
        assert_eq!(expanded("${PORT:-}").as_deref(), Ok(""));
    }

    #[test]
    fn two_dollars_are_one_and_a_lone_one_stays() {
        assert_eq!(expanded("$$ $${HOME} $5 $").as_deref(), Ok("$ ${HOME} $5 $"));
    }

    #[test]
    fn what_a_variable_contains_is_not_expanded_again() {
        assert_eq!(expanded("${NESTED}").as_deref(), Ok("${HOME}"));
    }

    #[test]
    fn an_unset_variable_an_open_brace_and_a_bad_name_are_refused() {
        assert_eq!(
            expanded("${PORT}").unwrap_err(),
            "the variable PORT is not set; set it, or write ${PORT:-default}"
        );
        assert!(expanded("${PORT").unwrap_err().starts_with("has \"${\" without \"}\" (is \"${PORT\")"));
        assert!(expanded("${}").unwrap_err().starts_with("\"\" is not the name of a variable"));
        assert!(expanded("${1A}").is_err());
    }
}
