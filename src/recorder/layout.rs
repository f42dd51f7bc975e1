//! Where what lies in the page. Both ends of it, and nobody else, read these numbers.
//!
//! ```text
//! head │ stack of the thread that crashed │ applications … │ slots, one for each thread …
//! ```
//!
//! All of it are words of 64 bits in the machine's own order. Text lies in words from their lowest byte up.

/// What a page begins with.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"cohostfr");

/// Raised when anything below changes its meaning or its place.
pub(super) const VERSION: u64 = 1;

/// Words of the head.
pub(super) mod head {
    pub(in crate::recorder) const MAGIC: usize = 0;
    pub(in crate::recorder) const VERSION: usize = 1;
    /// How many applications were written.
    pub(in crate::recorder) const APPLICATIONS: usize = 2;
    /// How many slots have ever been used.
    pub(in crate::recorder) const SLOTS: usize = 3;
    /// The note of a crash begins; see [`crate::sys::crash`] for its words.
    pub(in crate::recorder) const NOTE: usize = 8;
    pub(in crate::recorder) const SIZE: usize = 32;
}

/// The top of the crashed thread's stack.
pub(super) const STACK: usize = head::SIZE;

/// Words of one application.
pub(super) mod application {
    pub(in crate::recorder) const GENERATION: usize = 0;
    /// Where its code begins; 0 if that is not known.
    pub(in crate::recorder) const CODE: usize = 1;
    pub(in crate::recorder) const CODE_END: usize = 2;
    pub(in crate::recorder) const NAME_LENGTH: usize = 3;
    pub(in crate::recorder) const NAME: usize = 4;
    pub(in crate::recorder) const SIZE: usize = 20;
}

pub(super) const APPLICATIONS: usize = STACK + crate::sys::crash::STACK_WORDS;
/// Whoever comes later has a number and no name.
pub(super) const MOST_APPLICATIONS: usize = 512;

/// Words of one slot: four lines of the processor's cache, which no other thread writes to.
pub(super) mod slot {
    /// The system's number of the thread; 0 for a slot that is free.
    pub(in crate::recorder) const THREAD: usize = 0;
    /// Odd while the thread is inside an application; never the same twice.
    pub(in crate::recorder) const SEQUENCE: usize = 1;
    /// Which application, from 1; and in the upper half, what the thread does there.
    pub(in crate::recorder) const APPLICATION: usize = 2;
    pub(in crate::recorder) const REQUEST: usize = 3;
    /// Which request the text is of.
    pub(in crate::recorder) const TEXT_OF: usize = 4;
    /// Of the method, and, eight bits further up, of the path.
    pub(in crate::recorder) const LENGTHS: usize = 5;
    pub(in crate::recorder) const METHOD: usize = 6;
    pub(in crate::recorder) const PATH: usize = 8;
    pub(in crate::recorder) const SIZE: usize = 32;
}

pub(super) const SLOTS: usize = APPLICATIONS + MOST_APPLICATIONS * application::SIZE;
/// Threads beyond these are seen by nobody.
pub(super) const MOST_SLOTS: usize = 1024;

pub(super) const WORDS: usize = SLOTS + MOST_SLOTS * slot::SIZE;

/// The `number`th thing of `size` words, of those that begin at `first`.
pub(super) const fn nth(first: usize, size: usize, number: usize) -> std::ops::Range<usize> {
    first + number * size..first + (number + 1) * size
}
