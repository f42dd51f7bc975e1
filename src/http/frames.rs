//! The frames of HTTP/2 as they pass by, told by their heads (RFC 9113, section 4.1).
//!
//! In: bytes of one direction, in any pieces. Out: the kind, the flags and the length of each frame. Never: looks at what
//! is in a frame, or keeps any of it.

/// What begins a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) length: u32,
}

/// How far the frames of one direction have been read.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is to be passed over: the rest of a frame, or the preface.
    skip: u32,
    head: [u8; HEAD],
    /// How much of a head is there.
    known: usize,
}

const HEAD: usize = 9;

impl Frames {
    /// Those of a direction that begins with so many bytes that are none.
    pub(super) fn after(preface: u32) -> Self {
        Self { skip: preface, head: [0; HEAD], known: 0 }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.known == 0
    }

    /// Passes over `bytes`; `seen` hears of each head in it.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Head)) {
        loop {
            let skipped = bytes.len().min(self.skip as usize);
            self.skip -= u32::try_from(skipped).expect("no more than there was");
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(HEAD - self.known);
            self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                (self.skip, self.known) = (length, 0);
                seen(Head { kind, flags, length });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn frames_are_told_in_whatever_pieces_they_come(
            frames in vec((any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..40)), 0..10),
            piece in 1..50_usize,
        ) {
            let mut bytes = b"PREFACE".to_vec();
            for (kind, flags, payload) in &frames {
                bytes.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
                bytes.extend([*kind, *flags, 0, 0, 0, 1]);
                bytes.extend(payload);
            }
            let (mut passing, mut told) = (Frames::after(7), Vec::new());
            for piece in bytes.chunks(piece) {
                passing.pass(piece, |head| told.push(head));
            }
            let sent = frames.iter().map(|(kind, flags, payload)| {
                Head { kind: *kind, flags: *flags, length: u32::try_from(payload.len()).unwrap() }
            });
            prop_assert_eq!(told, sent.collect::<Vec<_>>());
            prop_assert!(passing.is_between());
        }
    }
}
