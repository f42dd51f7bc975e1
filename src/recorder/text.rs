//! Text in words.

use std::sync::atomic::{AtomicU64, Ordering};

/// Writes as much of `text` as there is room for; returns how much that was.
pub(super) fn write(words: &[AtomicU64], text: &[u8]) -> usize {
    let length = text.len().min(size_of_val(words));
    for (word, bytes) in words.iter().zip(text[..length].chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
    }
    length
}

/// The first `length` bytes of text; as many as there are, if that is too much, and whatever is no text replaced.
pub(super) fn read(words: &[u64], length: u64) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_it_was_written_or_as_far_as_it_fits() {
        let words: [AtomicU64; 3] = Default::default();
        for (text, kept) in [
            ("", ""),
            ("GET", "GET"),
            ("/exactly", "/exactly"),
            ("/twenty-four-bytes-long/", "/twenty-four-bytes-long/"),
            ("/longer-than-twenty-four-bytes", "/longer-than-twenty-four"),
        ] {
            let length = write(&words, text.as_bytes()) as u64;
            let words: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            assert_eq!(read(&words, length), kept);
        }
        assert_eq!(read(&[u64::MAX], u64::MAX), "\u{fffd}".repeat(8));
    }
}
