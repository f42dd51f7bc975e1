//! The word that somebody meant who misspelt it.

/// The word that is fewest mistakes away, when those are few for its length.
#[must_use]
#[cfg_attr(
    not(feature = "admin"),
    expect(unreachable_pub, reason = "who asks for commands needs it outside")
)]
pub fn nearest<'a>(written: &str, words: &[&'a str]) -> Option<&'a str> {
    // Comparing costs time in proportion to both lengths, and nothing so long is a misspelt word.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_ascii_lowercase();
    words
        .iter()
        .map(|word| (strsim::osa_distance(&written, word), *word))
        .min()
        .filter(|(mistakes, word)| *mistakes <= word.len().div_ceil(3).min(3))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_must_be_near() {
        assert_eq!(nearest("bindngs", &["name", "bindings"]), Some("bindings"));
        assert_eq!(nearest("Name", &["name", "bindings"]), Some("name"));
        assert_eq!(nearest("certificate", &["name", "bindings"]), None);
    }
}
