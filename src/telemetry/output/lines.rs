//! A stream of any bytes, cut into lines.

/// A line as it was printed, or a piece of one that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Without what ended it.
    pub(crate) text: &'a [u8],
    pub(crate) end: End,
}

/// What comes after a [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another line, or nothing.
    Whole,
    /// More of the same line.
    Cut,
}

/// Cuts a stream into lines. One that is too long is cut, too.
#[derive(Debug)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    longest: usize,
}

impl Lines {
    /// Goes on with a line that has begun, and keeps no more than `longest` bytes.
    pub(crate) fn begun(begun: Vec<u8>, longest: usize) -> Self {
        Self { begun, longest }
    }

    /// What there is of a line whose end has not come.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.begun
    }

    pub(crate) fn push(&mut self, mut chunk: &[u8], mut emit: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            self.extend(&chunk[..end], &mut emit);
            let text = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
            emit(Line { text, end: End::Whole });
            self.begun.clear();
            chunk = &chunk[end + 1..];
        }
        self.extend(chunk, &mut emit);
    }

    /// What is left when the stream is over.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(Line<'_>)) {
        if !self.begun.is_empty() {
            emit(Line { text: &self.begun, end: End::Whole });
            self.begun.clear();
        }
    }

    fn extend(&mut self, mut piece: &[u8], emit: &mut impl FnMut(Line<'_>)) {
        while self.begun.len() + piece.len() > self.longest {
            let (now, later) = piece.split_at(self.longest - self.begun.len());
            self.begun.extend_from_slice(now);
            emit(Line { text: &self.begun, end: End::Cut });
            self.begun.clear();
            piece = later;
        }
        self.begun.extend_from_slice(piece);
    }
}

/// The longest line that is kept whole.
pub(crate) const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[Vec<u8>]) -> Vec<(Vec<u8>, End)> {
        let mut lines = Lines::begun(Vec::new(), LONGEST);
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| seen.push((line.text.to_vec(), line.end)));
            assert!(lines.begun.len() <= LONGEST);
        }
        lines.finish(|line| seen.push((line.text.to_vec(), line.end)));
        seen
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            chunks in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..50), 0..20),
        ) {
            let whole = vec![chunks.concat()];
            prop_assert_eq!(lines(&chunks), lines(&whole));
        }
    }

    #[test]
    fn an_endless_line_comes_in_pieces_and_whole() {
        let pieces = lines(&vec![vec![b'x'; 64 * 1024]; 5]);
        assert_eq!(pieces.iter().map(|(text, _)| text.len()).sum::<usize>(), 5 * 64 * 1024);
        assert!(pieces.iter().all(|(text, _)| text.len() <= LONGEST));
        let (last, others) = pieces.split_last().unwrap();
        assert_eq!(last.1, End::Whole);
        assert!(others.iter().all(|(_, end)| *end == End::Cut));
    }

    #[test]
    fn a_line_ends_as_it_does_on_any_system() {
        let texts: Vec<_> =
            lines(&[b"one\r\ntwo\n\nthree\rfour".to_vec()]).into_iter().map(|line| line.0).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"", b"three\rfour"]);
    }
}
