//! `cohost explain`: what a failure's code means, and what to do about it.

use cohost::failure::Code;

use crate::{cli::Explain, exit::Exit, say};

/// Prints the section of the handbook about one code, or all codes with a sentence each.
pub(crate) fn explain(arguments: &Explain) -> Exit {
    match arguments.code {
        Some(code) => say(section(code)),
        None => {
            let line = |code: &Code| format!("{:<24}{}\n", code.as_str(), code.title());
            say(&Code::ALL.iter().map(line).collect::<String>());
        }
    }
    Exit::Success
}

/// What the handbook says of `code`.
fn section(code: Code) -> &'static str {
    let title = format!("## `{code}`\n");
    let begin = PAGE.find(&title).expect("every code has a section, as a test of the library shows");
    let rest = &PAGE[begin..];
    match rest[1..].find("\n## ") {
        Some(end) => &rest[..end + 1],
        None => rest,
    }
}

const PAGE: &str = include_str!("../../docs/failures.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_section() {
        for code in Code::ALL {
            let section = section(*code);
            assert!(section.starts_with(&format!("## `{code}`\n")), "{section}");
            assert_eq!(section.matches("\n## ").count(), 0, "{section}");
            assert!(section.contains("What to do"), "{section}");
        }
    }
}
