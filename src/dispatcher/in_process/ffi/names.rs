//! Field names by number: from `http`'s names to the contract's, and back.

use std::sync::LazyLock;

use cohost_abi::HEADER_NAMES;
use http::HeaderName;

const COUNT: usize = HEADER_NAMES.len();
const SLOTS: usize = 1024;

/// Numbers by hash, open addressing; 0 is a free slot.
static TABLE: [u16; SLOTS] = table();

static NAMES: LazyLock<[HeaderName; COUNT]> =
    LazyLock::new(|| std::array::from_fn(|i| HeaderName::from_static(HEADER_NAMES[i])));

/// The contract's number of `name`, which is in lower case; 0 if it has none.
pub(super) fn id(name: &str) -> u16 {
    let name = name.as_bytes();
    let mut slot = hash(name);
    loop {
        match TABLE[slot] {
            0 => return 0,
            id if HEADER_NAMES[id as usize - 1].as_bytes() == name => return id,
            _ => slot = (slot + 1) % SLOTS,
        }
    }
}

/// The name of a number; `None` for 0 and for numbers that only a newer contract knows.
pub(super) fn name(id: u16) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(id).wrapping_sub(1))
}

const fn hash(name: &[u8]) -> usize {
    let len = name.len();
    if len == 0 {
        return 0;
    }
    let (first, middle, last) = (name[0] as usize, name[len / 2] as usize, name[len - 1] as usize);
    (len.wrapping_mul(57) ^ first.wrapping_mul(131) ^ middle.wrapping_mul(29) ^ last.wrapping_mul(311))
        % SLOTS
}

const fn table() -> [u16; SLOTS] {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < COUNT {
        let mut slot = hash(HEADER_NAMES[i].as_bytes());
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u16 + 1;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_number_and_back() {
        for (i, text) in HEADER_NAMES.iter().enumerate() {
            assert_eq!(usize::from(id(text)), i + 1);
            assert_eq!(name(i as u16 + 1).expect("known").as_str(), *text);
        }
    }

    #[test]
    fn other_names_have_no_number() {
        for text in ["", "x", "hos", "hostt", "x-unknown"] {
            assert_eq!(id(text), 0);
        }
        assert!(name(0).is_none());
        assert!(name(u16::MAX).is_none());
    }
}
